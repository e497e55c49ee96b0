// Which positions a row attends: with index queries of several heads and one index key a position,
//   score = sum over heads, ascending, of fma(weight, max(q . k, 0), score) from +0
// and the best topK of the row's own and earlier positions are kept; of equal scores the earlier position, a NaN is the
// worst.
// @source DeepSeek-AI 2025, "DeepSeek-V3.2": the lightning indexer
#include <math.h>

#include <algorithm>
#include <atomic>

#include "../kernels/queries.h"
#include "kv.h"
#include "ops.h"

namespace hw {
namespace ops {

namespace {

struct Selection {
  Model& model;
  const Tensor& q;
  const Tensor* weights;  // null: ones
  const KvPool& pool;
  const KvLayer& layer;
  int32_t heads;

  int64_t dots_bytes() const { return int64_t{heads} * kPagePositions * static_cast<int64_t>(sizeof(float)); }
  int64_t scratch_bytes() const { return dots_bytes() + query_bytes(1, q.cols); }

  void score(int32_t t, const uint8_t* page, int32_t end, float* scores, int thread) const {
    const Kernels& k = model.kernels();
    float* const dots = static_cast<float*>(model.thread_scratch(thread));
    uint8_t* const memory = reinterpret_cast<uint8_t*>(dots) + dots_bytes();
    const Acts queries = pool.keys == KV_F16
                             ? Acts{ACTS_F32, 1, q.cols, q.row(t), nullptr, nullptr, nullptr, q.cols, 0, 0, 0}
                             : quantize_queries(k, q.row(t), q.cols, 1, q.cols, memory);
    const uint8_t* const keys = page + layer.offset_k;
    k.attn_scores[pool.keys](&queries, heads, layer.dim_k, keys, end, dots, model.kernel_scratch(thread));
    std::fill(scores, scores + end, 0.0f);
    for (int32_t h = 0; h < heads; h++) {
      float* const dot = dots + h * kPagePositions;
      apply_act(k, ACT_RELU, dot, end);
      k.axpy(dot, weights == nullptr ? 1.0f : weights->row(t)[h], scores, end);
    }
  }

  // The best of `count` positions, ascending.
  static void choose(const float* scores, int32_t* order, int32_t count, int32_t top_k, int32_t* out) {
    const int32_t taken = std::min(count, top_k);
    for (int32_t p = 0; p < count; p++) order[p] = p;
    if (taken < count) {
      auto key = [scores](int32_t p) { return scores[p] == scores[p] ? scores[p] : -INFINITY; };
      std::nth_element(order, order + taken, order + count, [&](int32_t a, int32_t b) {
        return key(a) != key(b) ? key(a) > key(b) : a < b;
      });
      std::sort(order, order + taken);
    }
    std::copy(order, order + taken, out);
    std::fill(out + taken, out + top_k, -1);
  }

  // The positions of the best of `count` rows of `every` positions, and those from the last whole row to the row's own.
  static void choose_positions(const float* scores, int32_t* order, int32_t count, int32_t every, int32_t position,
                               int32_t top_k, int32_t* out) {
    const int32_t rows = (top_k - every + 1) / every, taken = std::min(count, rows);
    choose(scores, order, count, rows, out);
    int32_t end = taken * every;
    for (int32_t i = taken - 1; i >= 0; i--) {  // from behind: a row's positions never come before it
      for (int32_t p = every - 1, at = out[i]; p >= 0; p--) out[i * every + p] = at * every + p;
    }
    for (int32_t p = count * every; p <= position; p++) out[end++] = p;
    std::fill(out + end, out + top_k, -1);
  }
};

}  // namespace

Status select(Model& model, int32_t out_handle, int32_t q_handle, int32_t weights_handle, int32_t pool_handle,
              int32_t layer_index, int32_t n, bool expand) {
  HW_GET(Routing, out, model, out_handle);
  HW_GET(Tensor, q, model, q_handle);
  HW_GET(KvPool, pool, model, pool_handle);
  HW_TRY(check_rows(q, n, "q"));
  const Tensor* weights = nullptr;
  if (weights_handle != 0) {
    HW_GET(Tensor, given, model, weights_handle);
    HW_TRY(check_rows(given, n, "weights"));
    weights = &given;
  }
  HW_TRY(check_pass_rows(model, n));
  Result<const KvLayer*> found = kv_layer(pool, layer_index);
  if (!found.ok) return Status{false};
  const KvLayer& layer = *found.value;
  const int32_t heads = weights != nullptr ? weights->cols : q.cols / layer.dim_k;
  if (n > out.rows || layer.heads != 1 || q.cols != static_cast<int64_t>(heads) * layer.dim_k) {
    return bad_argument("%d index queries of %d columns over %d keys of %d", heads, q.cols, layer.heads, layer.dim_k);
  }
  if (expand && (out.top_k < 2 * pool.every - 1 || (out.top_k - pool.every + 1) % pool.every != 0)) {
    return bad_argument("%d positions of rows of %d", out.top_k, pool.every);
  }
  int32_t blocks = 0;
  Result<const int32_t*> tables = block_tables(model, pool, &blocks);
  if (!tables.ok) return Status{false};
  const Pass& pass = model.pass();
  int32_t most = 0;
  for (int32_t t = 0; t < n; t++) {
    most = std::max(most, pool.rows_at(pass.positions()[t]));
    const int32_t* table = tables.value + static_cast<int64_t>(pass.sequences()[t]) * blocks;
    for (int32_t page = 0; page <= pool.block_of(pass.positions()[t]); page++) {
      if (table[page] < 0) return bad_argument("row %d chooses among positions that are forgotten", t);
      if (!pool.in_memory(table[page])) return bad_argument("row %d chooses among positions on the disk", t);
    }
  }
  if (n == 0) return done();
  const Selection selection{model, q, weights, pool, layer, heads};
  HW_TRY(model.grow_thread_scratch(selection.scratch_bytes()));
  // Whole pages for each row, so that none is shared between two threads.
  const int64_t pages = std::max(0, most - 1) / kPagePositions + 1, stride = pages * kPagePositions;
  const int64_t wave = std::min<int64_t>(n, std::max<int64_t>(1, kSelectionPositions / stride));
  HW_TRY(model.grow(model.scratch().selection, wave * stride * 8));
  float* const scores = model.scratch().selection.as<float>();
  int32_t* const order = reinterpret_cast<int32_t*>(scores + wave * stride);
  std::atomic<bool> stop(false);
  auto stopped = [&] {
    if (model.cancelled()) stop.store(true, std::memory_order_relaxed);
    return stop.load(std::memory_order_relaxed);
  };
  for (int64_t first = 0; first < n; first += wave) {
    const int64_t rows = std::min<int64_t>(wave, n - first);
    model.pool().parallel_for(rows * pages, [&](int64_t index, int thread) {
      const int32_t t = static_cast<int32_t>(first + index / pages), page = static_cast<int32_t>(index % pages);
      const int32_t end = std::min(pool.rows_at(pass.positions()[t]) - page * kPagePositions, kPagePositions);
      if (end <= 0 || stopped()) return;
      const int32_t* table = tables.value + static_cast<int64_t>(pass.sequences()[t]) * blocks;
      selection.score(t, pool.page(table[page]), end, scores + index / pages * stride + page * kPagePositions, thread);
    });
    model.pool().parallel_for(rows, [&](int64_t row, int) {
      const int64_t t = first + row;
      if (stopped()) return;
      const int32_t position = pass.positions()[t], there = pool.rows_at(position);
      float* const of_row = scores + row * stride;
      int32_t *const order_of_row = order + row * stride, *const to = out.ids() + t * out.top_k;
      if (expand) {
        Selection::choose_positions(of_row, order_of_row, there, pool.every, position, out.top_k, to);
      } else {
        Selection::choose(of_row, order_of_row, there, out.top_k, to);
      }
    });
    if (stop.load()) return cancelled();
  }
  out.filled_rows = n;
  out.experts = expand ? (most + 1) * pool.every : most;
  return done();
}

}  // namespace ops
}  // namespace hw
