// Verbs of newer layers: LayerNorm, activations of one value, products of values, columns, weighted sums of streams.
// Most are plain loops over float_math.h, so that every instruction set has the same bits without a kernel of its
// own.
#include <math.h>
#include <string.h>

#include <algorithm>
#include <array>

#include "../kernels/float_math.h"
#include "over.h"
#include "row_sums.h"

namespace hw {
namespace ops {

namespace {

constexpr int64_t kMostParts = 256;

// Those that have no kernel; apply_act takes the others.
// Of numbers that are smaller the root is this one's.
constexpr float kLeastRoot = 1e-6f;

float act_of(int32_t kind, float x) {
  switch (kind) {
    case ACT_RELU: return max_f32(x, 0.0f);
    case ACT_RELU2: {
      float r = max_f32(x, 0.0f);
      return r * r;
    }
    case ACT_SIGMOID: return scalar_gate(1.0f, x);
    case ACT_TANH: return scalar_tanh(x);
    case ACT_ROOT: return x == 0.0f ? 0.0f : copysignf(sqrtf(max_f32(fabsf(x), kLeastRoot)), x);
    // log(1 + e^x) in double, as angles of RoPE are.
    default: return x > 20.0f ? x : static_cast<float>(log1p(exp(static_cast<double>(x))));
  }
}

}  // namespace

void apply_act(const Kernels& k, int32_t kind, float* x, int64_t n) {
  // As gates of ones, where there is a kernel: a product with 1 is the number itself.
  static const std::array<float, 256> ones = [] {
    std::array<float, 256> filled;
    filled.fill(1.0f);
    return filled;
  }();
  if (kind == ACT_SILU || kind == ACT_GELU_TANH) {
    GluKind glu = kind == ACT_SILU ? GLU_SILU : GLU_GELU_TANH;
    for (int64_t i = 0; i < n; i += 256) k.glu[glu](x + i, ones.data(), x + i, std::min<int64_t>(256, n - i));
    return;
  }
  if (kind == ACT_EXP) {
    k.exp_sum(x, 0.0f, n);  // writes the exponentials, with the bits of scalar_exp
    return;
  }
  for (int64_t i = 0; i < n; i++) x[i] = act_of(kind, x[i]);
}

Status layer_norm(Model& model, int32_t out_handle, int32_t x_handle, int32_t weight_handle, int32_t bias_handle,
                  int32_t n, float eps) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(out, n, "out"));
  HW_TRY(check_rows(x, n, "x"));
  if (out.cols != x.cols) return bad_argument("tensors of %d and %d columns", out.cols, x.cols);
  Result<const float*> weight = optional_vector(model, weight_handle, x.cols);
  Result<const float*> bias = optional_vector(model, bias_handle, x.cols);
  if (!weight.ok || !bias.ok) return Status{false};
  const Kernels& k = model.kernels();
  over_rows(model, n, x.cols, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++) {
      k.layer_norm(x.row(t), weight.value, bias.value, out.row(t), x.cols, eps);
    }
  });
  return done();
}

Status act(Model& model, int32_t x_handle, int32_t n, int32_t kind) {
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(x, n, "x"));
  if (kind < 0 || kind >= ACT_KINDS) return bad_argument("activation %d", kind);
  over_values(model, static_cast<int64_t>(n) * x.cols, [&](int64_t i0, int64_t i1) {
    apply_act(model.kernels(), kind, x.data() + i0, i1 - i0);
  });
  return done();
}

// Each value of x multiplies a run of neighbours in y: one value, a head, or the whole row.
Status multiply(Model& model, int32_t y_handle, int32_t x_handle, int32_t n) {
  HW_GET(Tensor, y, model, y_handle);
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(y, n, "y"));
  HW_TRY(check_rows(x, n, "x"));
  if (y.cols % x.cols != 0) return bad_argument("%d columns times %d factors", y.cols, x.cols);
  int64_t run = y.cols / x.cols;
  over_rows(model, n, y.cols, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++) {
      for (int64_t k = 0; k < y.cols; k++) y.row(t)[k] = y.row(t)[k] * x.row(t)[k / run];
    }
  });
  return done();
}

// The vector is repeated along the row.
Status multiply_vector(Model& model, int32_t x_handle, int32_t vector_handle, int32_t n) {
  HW_GET(Tensor, x, model, x_handle);
  HW_GET(Vector, vector, model, vector_handle);
  HW_TRY(check_rows(x, n, "x"));
  const int64_t length = vector.length;
  if (length < 1 || x.cols % length != 0) {
    return bad_argument("a vector of %d values for rows of %d", vector.length, x.cols);
  }
  over_rows(model, n, x.cols, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++) {
      for (int64_t i = 0; i < x.cols; i += length) {
        for (int64_t k = 0; k < length; k++) x.row(t)[i + k] = x.row(t)[i + k] * vector.data()[k];
      }
    }
  });
  return done();
}

Status add_vector(Model& model, int32_t x_handle, int32_t vector_handle, int32_t n) {
  HW_GET(Tensor, x, model, x_handle);
  HW_GET(Vector, vector, model, vector_handle);
  HW_TRY(check_rows(x, n, "x"));
  if (vector.length != x.cols) return bad_argument("a vector of %d values for %d columns", vector.length, x.cols);
  const Kernels& k = model.kernels();
  over_rows(model, n, x.cols, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++) k.add(vector.data(), x.row(t), x.cols);
  });
  return done();
}

Status columns(Model& model, int32_t out_handle, int32_t x_handle, int32_t to, int32_t from, int32_t count, int32_t n) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(out, n, "out"));
  HW_TRY(check_rows(x, n, "x"));
  if (count < 1 || to < 0 || from < 0 || count > out.cols - to || count > x.cols - from || overlap(out, x, n)) {
    return bad_argument("columns %d + %d of %d into %d of %d", from, count, x.cols, to, out.cols);
  }
  over_rows(model, n, count, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++)
      memcpy(out.row(t) + to, x.row(t) + from, static_cast<size_t>(count) * sizeof(float));
  });
  return done();
}

// out_d = w[d][0] * s_0, then fma(w[d][j], s_j, out_d): s the streams of all parts in order, each as wide as out's.
Status blend(Model& model, int32_t out_handle, Slice<const int32_t> part_handles, int32_t weights_handle,
             int32_t streams, int32_t n) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, weights, model, weights_handle);
  HW_TRY(check_rows(out, n, "out"));
  HW_TRY(check_rows(weights, n, "weights"));
  if (streams < 1 || out.cols % streams != 0) return bad_argument("%d streams of %d columns", streams, out.cols);
  if (part_handles.length < 1 || part_handles.length > kMostParts) return bad_argument("1 to 256 parts can be blended");
  int64_t dim = out.cols / streams, count = 0;
  const Tensor* parts[kMostParts];
  for (int64_t i = 0; i < part_handles.length; i++) {
    HW_GET(Tensor, part, model, part_handles.data[i]);
    HW_TRY(check_rows(part, n, "a part"));
    if (part.cols % dim != 0 || overlap(out, part, n)) return bad_argument("part %d of a blend", static_cast<int>(i));
    parts[i] = &part;
    count += part.cols / dim;
  }
  if (weights.cols != streams * count || overlap(out, weights, n)) {
    return bad_argument("%d weights for %lld streams into %d", weights.cols, static_cast<long long>(count), streams);
  }
  const Kernels& k = model.kernels();
  over_rows(model, n, out.cols * count, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++) {
      const float* w = weights.row(t);
      for (int64_t d = 0; d < streams; d++) {
        float* to = out.row(t) + d * dim;
        bool first = true;
        for (int64_t i = 0; i < part_handles.length; i++) {
          for (int64_t s = 0; s < parts[i]->cols / dim; s++, w++) {
            const float* from = parts[i]->row(t) + s * dim;
            if (first) {
              memcpy(to, from, static_cast<size_t>(dim) * sizeof(float));
              k.scale(to, *w, dim);
            } else {
              k.axpy(from, *w, to, dim);
            }
            first = false;
          }
        }
      }
    }
  });
  return done();
}

// Scores of streams: softmax over j of sum_e rms(s_j)_e * w_e.
Status stream_scores(Model& model, int32_t out_handle, Slice<const int32_t> part_handles, int32_t vector, int32_t n,
                     float eps) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Vector, weight, model, vector);
  HW_TRY(check_rows(out, n, "out"));
  int64_t dim = weight.length;
  const Tensor* parts[kMostParts];
  int64_t count = 0;
  if (part_handles.length < 1 || part_handles.length > kMostParts) return bad_argument("1 to 256 parts have scores");
  for (int64_t i = 0; i < part_handles.length; i++) {
    HW_GET(Tensor, part, model, part_handles.data[i]);
    HW_TRY(check_rows(part, n, "a part"));
    if (part.cols % dim != 0 || overlap(out, part, n)) return bad_argument("part %d of scores", static_cast<int>(i));
    parts[i] = &part;
    count += part.cols / dim;
  }
  if (out.cols != count) return bad_argument("%d scores of %lld streams", out.cols, static_cast<long long>(count));
  const Kernels& k = model.kernels();
  over_rows(model, n, count * dim, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++) {
      float* to = out.row(t);
      int64_t j = 0;
      for (int64_t i = 0; i < part_handles.length; i++) {
        for (int64_t s = 0; s < parts[i]->cols / dim; s++, j++) {
          const float* x = parts[i]->row(t) + s * dim;
          float inverse =
              1.0f / sqrtf(squares_of(dim, [&](int64_t e) { return x[e]; }) / static_cast<float>(dim) + eps);
          float p[32] = {0};
          for (int64_t e = 0; e < dim; e++) p[e % 32] = __builtin_fmaf(x[e] * inverse, weight.data()[e], p[e % 32]);
          to[j] = tree_sum(p);
        }
      }
      float sum = k.exp_sum(to, k.max(to, count), count);
      for (j = 0; j < count; j++) to[j] = to[j] / sum;
    }
  });
  return done();
}

// Weights of hyper-connections from a product: `pre` [hc] and `mix` [hc][1 + hc] (the branch's result first, then the
// streams).
Status hyper_weights(Model& model, int32_t pre_handle, int32_t mix_handle, int32_t x_handle, int32_t scale_handle,
                     int32_t base_handle, int32_t n, int32_t iterations, float eps) {
  HW_GET(Tensor, pre, model, pre_handle);
  HW_GET(Tensor, mix, model, mix_handle);
  HW_GET(Tensor, x, model, x_handle);
  constexpr int32_t kMost = 16;
  int32_t hc = pre.cols;
  HW_TRY(check_rows(pre, n, "pre"));
  HW_TRY(check_rows(mix, n, "mix"));
  HW_TRY(check_rows(x, n, "x"));
  Result<const float*> scale = optional_vector(model, scale_handle, 3);
  Result<const float*> base = optional_vector(model, base_handle, x.cols);
  if (!scale.ok || !base.ok) return Status{false};
  if (hc > kMost || x.cols != (2 + hc) * hc || mix.cols != hc * (1 + hc) || iterations < 1 || iterations > 1000 ||
      scale.value == nullptr || base.value == nullptr || overlap(pre, x, n) || overlap(mix, x, n) ||
      overlap(pre, mix, n)) {
    return bad_argument("hyper-connections of %d streams from %d columns", hc, x.cols);
  }
  const float *s = scale.value, *b = base.value;
  auto row = [&](int64_t t) {
    const float* m = x.row(t);
    float comb[kMost * kMost];
    for (int32_t i = 0; i < hc; i++) {
      pre.row(t)[i] = scalar_gate(1.0f, __builtin_fmaf(m[i], s[0], b[i])) + eps;
      mix.row(t)[i * (1 + hc)] = 2.0f * scalar_gate(1.0f, __builtin_fmaf(m[hc + i], s[1], b[hc + i]));
    }
    for (int32_t i = 0; i < hc * hc; i++) {  // rows of x have the destinations of each source side by side
      const int32_t at = 2 * hc + i % hc * hc + i / hc;
      comb[i] = __builtin_fmaf(m[at], s[2], b[at]);
    }
    for (int32_t src = 0; src < hc; src++) {  // softmax over destinations
      float most = comb[src], sum = 0;
      for (int32_t dst = 1; dst < hc; dst++) most = max_f32(comb[dst * hc + src], most);
      for (int32_t dst = 0; dst < hc; dst++) sum += comb[dst * hc + src] = scalar_exp(comb[dst * hc + src] - most);
      for (int32_t dst = 0; dst < hc; dst++) comb[dst * hc + src] = comb[dst * hc + src] / sum + eps;
    }
    auto even = [&](int32_t outer, int32_t inner) {
      for (int32_t i = 0; i < hc; i++) {
        float sum = eps;
        for (int32_t j = 0; j < hc; j++) sum += comb[i * outer + j * inner];
        for (int32_t j = 0; j < hc; j++) comb[i * outer + j * inner] /= sum;
      }
    };
    even(hc, 1);  // over sources
    for (int32_t i = 1; i < iterations; i++) {
      even(1, hc);
      even(hc, 1);
    }
    for (int32_t i = 0; i < hc * hc; i++) mix.row(t)[i / hc * (1 + hc) + 1 + i % hc] = comb[i];
  };
  over_rows(model, n, int64_t{hc} * hc * iterations, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++) row(t);
  });
  return done();
}

// One row for each sequence of the pass, in their order: its rows' mean, its first or its last row.
Status pool(Model& model, int32_t out_handle, int32_t x_handle, int32_t n, int32_t kind) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(x, n, "x"));
  HW_TRY(check_pass_rows(model, n));
  if (kind < 0 || kind >= POOL_KINDS || out.cols != x.cols || overlap(out, x, n))
    return bad_argument("pooling %d", kind);
  const Kernels& k = model.kernels();
  int64_t to = 0;
  for (int32_t t = 0, t1 = 0; t < n; t = t1, to++) {
    for (t1 = t + 1; t1 < n && model.pass().sequences()[t1] == model.pass().sequences()[t];) t1++;
    if (to >= out.rows) return bad_argument("more sequences than the %d rows of out", out.rows);
    memcpy(out.row(to), x.row(kind == POOL_LAST ? t1 - 1 : t), static_cast<size_t>(x.cols) * sizeof(float));
    if (kind != POOL_MEAN) continue;
    for (int32_t i = t + 1; i < t1; i++) k.add(x.row(i), out.row(to), x.cols);
    k.scale(out.row(to), 1.0f / static_cast<float>(t1 - t), x.cols);
  }
  return done();
}

}  // namespace ops
}  // namespace hw
