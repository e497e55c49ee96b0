// The router: scores of all experts, the best topK of them, their weights. Says where a logit is not a finite number.
#include <math.h>
#include <string.h>

#include <algorithm>
#include <atomic>
#include <cmath>

#include "over.h"

namespace hw {
namespace ops {

namespace {

// The least divisor of a renormalisation: the smallest normal float16, as llama.cpp has it.
constexpr float kLeastSum = 6.103515625e-5f;
constexpr int64_t kMostExperts = 65536;  // scores and keys of a row fit a thread's kernel scratch
static_assert(kMostExperts * 2 * sizeof(float) <= kScratchBytes, "router scratch");

struct Router {
  const Kernels& kernels;
  int32_t experts, top_k, score;
  bool renormalize;
  float scale;
  const float* bias;
  const float* factors;  // of each expert's weight, or null
  int32_t groups, groups_used;
  const float* table;  // the experts of each token [tokens][top_k], or null

  // p[e]: what becomes a weight. All keep the logits' order.
  void scores(const float* logits, float* p) const {
    memcpy(p, logits, static_cast<size_t>(experts) * sizeof(float));
    if (score == SCORE_SOFTMAX) {
      float sum = kernels.exp_sum(p, kernels.max(p, experts), experts);
      for (int32_t e = 0; e < experts; e++) p[e] = p[e] / sum;
    } else if (score == SCORE_SIGMOID) {
      for (int32_t e = 0; e < experts; e++) p[e] = -p[e];
      kernels.exp_sum(p, 0.0f, experts);
      for (int32_t e = 0; e < experts; e++) p[e] = 1.0f / (1.0f + p[e]);
    } else if (score == SCORE_ROOT_SOFTPLUS) {
      apply_act(kernels, ACT_SOFTPLUS, p, experts);
      for (int32_t e = 0; e < experts; e++) p[e] = sqrtf(p[e]);
    }
  }

  // v - v is 0, or NaN for what is not finite: a sum tells of all of them without a branch.
  bool finite(const float* logits) const {
    float faults = 0;
    for (int32_t e = 0; e < experts; e++) faults += logits[e] - logits[e];
    return faults == 0;
  }

  // Experts come in equal groups, of which only the best may be chosen from: those whose two best keys have the
  // greatest sum; ties go to the lower group. `sums` has room for one of each group.
  void keep_groups(float* keys, float* sums) const {
    const int32_t size = experts / groups;
    for (int32_t g = 0; g < groups; g++) {
      float first = -INFINITY, second = -INFINITY;
      for (int32_t e = g * size; e < (g + 1) * size; e++) {
        if (keys[e] > first) {
          second = first;
          first = keys[e];
        } else if (keys[e] > second) {
          second = keys[e];
        }
      }
      const float sum = size > 1 ? first + second : first;
      sums[g] = sum == sum ? sum : -INFINITY;  // an infinite bias beside one that is no number
    }
    for (int32_t used = 0; used < groups_used; used++) {
      int32_t best = -1;
      for (int32_t g = 0; g < groups; g++) {
        if (sums[g] == sums[g] && (best < 0 || sums[g] > sums[best])) best = g;
      }
      sums[best] = NAN;  // taken
    }
    for (int32_t g = 0; g < groups; g++) {
      if (sums[g] != sums[g]) continue;
      for (int32_t e = g * size; e < (g + 1) * size; e++) keys[e] = -INFINITY;
    }
  }

  // The experts that the table has for a token. False, and the first ones, where it names one that is not there, or one
  // twice.
  bool look_up(int64_t token, int32_t* ids) const {
    const float* const listed = table + token * top_k;
    for (int32_t rank = 0; rank < top_k; rank++) {
      bool good = listed[rank] >= 0 && listed[rank] < static_cast<float>(experts);
      ids[rank] = good ? static_cast<int32_t>(listed[rank]) : 0;
      for (int32_t before = 0; good && before < rank; before++) good = ids[before] != ids[rank];
      if (good) continue;
      for (int32_t i = 0; i < top_k; i++) ids[i] = i;
      return false;
    }
    return true;
  }

  // The best experts by their scores.
  void choose(const float* p, float* keys, int32_t* ids) const {
    for (int32_t e = 0; e < experts; e++) {
      float key = bias != nullptr ? p[e] + bias[e] : p[e];
      keys[e] = key == key ? key : -INFINITY;  // a NaN is the worst choice, never a wild index
    }
    if (groups > 1) keep_groups(keys, keys + experts);
    for (int32_t rank = 0; rank < top_k; rank++) {
      int32_t best = -1;
      for (int32_t e = 0; e < experts; e++) {
        if (keys[e] == keys[e] && (best < 0 || keys[e] > keys[best])) best = e;
      }
      ids[rank] = best;
      keys[best] = NAN;  // taken
    }
  }

  // False where the table is wrong.
  bool row(const float* logits, int64_t token, int32_t* ids, float* weights, void* scratch) const {
    float* p = static_cast<float*>(scratch);
    scores(logits, p);
    bool good = true;
    if (table != nullptr) {
      good = look_up(token, ids);
    } else {
      choose(p, p + experts, ids);
    }
    for (int32_t rank = 0; rank < top_k; rank++) weights[rank] = p[ids[rank]];
    if (score == SCORE_SOFTMAX_SELECTED) {
      float sum = kernels.exp_sum(weights, kernels.max(weights, top_k), top_k);
      for (int32_t rank = 0; rank < top_k; rank++) weights[rank] /= sum;
    }
    if (renormalize) {
      float sum = 0;
      for (int32_t rank = 0; rank < top_k; rank++) sum += weights[rank];
      sum = sum > kLeastSum ? sum : kLeastSum;
      for (int32_t rank = 0; rank < top_k; rank++) weights[rank] /= sum;
    }
    for (int32_t rank = 0; rank < top_k; rank++) weights[rank] *= scale;
    if (factors != nullptr) {
      for (int32_t rank = 0; rank < top_k; rank++) weights[rank] *= factors[ids[rank]];
    }
    return good;
  }
};

}  // namespace

Result<int32_t> route(Model& model, int32_t out_handle, int32_t logits_handle, int32_t n, int32_t score,
                      bool renormalize, float scale, int32_t bias_handle, int32_t factors_handle, int32_t groups,
                      int32_t groups_used, int32_t table_handle) {
  HW_GET(Routing, out, model, out_handle);
  HW_GET(Tensor, logits, model, logits_handle);
  HW_TRY(check_rows(logits, n, "logits"));
  if (n > out.rows) return bad_argument("%d rows of a routing of %d", n, out.rows);
  if (out.top_k > logits.cols || logits.cols > kMostExperts) {
    return bad_argument("%d of %d experts", out.top_k, logits.cols);
  }
  if (score < 0 || score >= SCORES) return bad_argument("router score %d", score);
  Result<const float*> bias = optional_vector(model, bias_handle, logits.cols);
  Result<const float*> factors = optional_vector(model, factors_handle, logits.cols);
  if (!bias.ok || !factors.ok) return Status{false};
  constexpr int64_t kRoom = kScratchBytes / sizeof(float);  // scores, keys and sums of groups
  if (groups < 1 || logits.cols % groups != 0 || groups_used < 1 || groups_used > groups ||
      (groups > 1 && 2 * int64_t{logits.cols} + groups > kRoom) ||
      int64_t{groups_used} * (logits.cols / groups) < out.top_k) {
    return bad_argument("%d of %d groups of %d experts", groups_used, groups, logits.cols);
  }
  const float* table = nullptr;
  int64_t tokens = 0;
  if (table_handle != 0) {
    HW_GET(Vector, listed, model, table_handle);
    HW_TRY(check_pass_rows(model, n));
    tokens = listed.length / out.top_k;
    table = listed.data();
    for (int32_t t = 0; t < n; t++) {
      if (model.pass().ids()[t] >= tokens) return bad_argument("a table of experts for %lld tokens", (long long)tokens);
    }
  }
  Router router{model.kernels(), logits.cols, out.top_k, score,       renormalize, scale,
                bias.value,      factors.value, groups,    groups_used, table};
  std::atomic<bool> wrong{false};
  std::atomic<int32_t> fault{n};  // the first row with a logit that is not finite
  auto one = [&](int64_t t, int thread) {
    if (!router.finite(logits.row(t))) {
      int32_t before = fault.load(std::memory_order_relaxed);
      while (t < before && !fault.compare_exchange_weak(before, static_cast<int32_t>(t))) {
      }
    }
    const int64_t token = table == nullptr ? 0 : model.pass().ids()[t], at = t * out.top_k;
    if (!router.row(logits.row(t), token, out.ids() + at, out.weights() + at, model.kernel_scratch(thread))) {
      wrong.store(true, std::memory_order_relaxed);
    }
  };
  if (static_cast<int64_t>(n) * logits.cols * out.top_k < kInlineValues) {
    for (int32_t t = 0; t < n; t++) one(t, 0);
  } else {
    model.pool().parallel_for(n, one);
  }
  out.filled_rows = n;
  out.experts = logits.cols;
  const int32_t t = fault.load();
  if (t == n) return wrong.load() ? int32_t{-2} : int32_t{-1};
  int32_t e = 0;
  while (e + 1 < logits.cols && std::isfinite(logits.row(t)[e])) e++;
  return e;
}

}  // namespace ops
}  // namespace hw
