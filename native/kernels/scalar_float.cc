// The float kernels in plain loops: the definition of the bits (kernels.h, "canonical arithmetic").
#include "float_math.h"
#include "kernels.h"

namespace hw {
namespace {

void rms_norm(const float* x, const float* w, float* out, int32_t cols, float eps) {
  float p[32] = {0};
  for (int64_t k = 0; k < ((int64_t)cols + 31) / 32 * 32; k++) {
    const float v = k < cols ? x[k] : 0.0f;
    p[k % 32] = __builtin_fmaf(v, v, p[k % 32]);
  }
  const float inv = 1.0f / __builtin_sqrtf(tree_sum(p) / (float)cols + eps);
  for (int32_t k = 0; k < cols; k++) out[k] = w ? x[k] * inv * w[k] : x[k] * inv;
}

void add(const float* x, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = y[i] + x[i];
}

void scale(float* x, float s, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = x[i] * s;
}

void axpy(const float* x, float s, float* y, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = __builtin_fmaf(s, x[i], y[i]);
}

void softcap(float* x, float c, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = scalar_softcap(x[i], c);
}

void glu_silu(const float* gate, const float* up, float* out, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = scalar_gate(gate[i], gate[i]) * up[i];
}

void glu_gelu_tanh(const float* gate, const float* up, float* out, int64_t n) {
  for (int64_t i = 0; i < n; i++) out[i] = scalar_gelu_tanh(gate[i]) * up[i];
}

void glu_oai(const float* gate, const float* up, float* out, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    const float g = min_f32(kOaiLimit, gate[i]);
    const float u = max_f32(-kOaiLimit, min_f32(kOaiLimit, up[i]));
    out[i] = scalar_gate(g, g * kOaiAlpha) * (u + 1.0f);
  }
}

void rope(float* x, const float* cos, const float* sin, int32_t dims, int32_t interleaved) {
  const int32_t half = dims / 2;
  for (int32_t i = 0; i < half; i++) {
    float* a = interleaved ? x + 2 * i : x + i;
    float* b = interleaved ? x + 2 * i + 1 : x + half + i;
    const float va = *a, vb = *b;
    *a = __builtin_fmaf(va, cos[i], -(vb * sin[i]));
    *b = __builtin_fmaf(vb, cos[i], va * sin[i]);
  }
}

float max(const float* x, int64_t n) {
  float p[32];
  for (int i = 0; i < 32; i++) p[i] = -__builtin_inff();
  for (int64_t k = 0; k < n; k++) p[k % 32] = max_f32(x[k], p[k % 32]);
  return tree_max(p);
}

float exp_sum(float* x, float max, int64_t n) {
  float p[32] = {0};
  for (int64_t k = 0; k < n; k++) {
    x[k] = scalar_exp(x[k] - max);
    p[k % 32] = p[k % 32] + x[k];
  }
  return tree_sum(p);
}

void recur(const RecurStep* step) {
  const RecurStep& s = *step;
  for (int32_t c = 0; c < s.cols; c++) {
    float predicted = 0.0f, sum = 0.0f;
    for (int32_t k = 0; k < s.keys; k++) {
      const float m = s.decay[k * s.decay_step] * s.from[k * s.stride + c];
      s.to[k * s.stride + c] = m;
      predicted = __builtin_fmaf(s.k[k], m, predicted);
    }
    const float d = s.beta * (s.correct ? s.v[c] - predicted : s.v[c]);
    for (int32_t k = 0; k < s.keys; k++) {
      float* const m = s.to + k * s.stride + c;
      *m = __builtin_fmaf(s.k[k], d, *m);
      if (s.q) sum = __builtin_fmaf(s.q[k], *m, sum);
    }
    if (s.q) s.out[c] = s.skip ? __builtin_fmaf(*s.skip, s.v[c], sum) : sum;
  }
}

void conv(const float* const* x, const float* w, int64_t stride, int32_t taps, const float* bias, float* out,
          int64_t n) {
  for (int64_t c = 0; c < n; c++) {
    float sum = w[c] * x[0][c];
    for (int32_t i = 1; i < taps; i++) sum = __builtin_fmaf(w[i * stride + c], x[i][c], sum);
    out[c] = bias ? sum + bias[c] : sum;
  }
}

}  // namespace

void fill_scalar_float(Kernels* k) {
  k->rms_norm = rms_norm;
  k->add = add;
  k->scale = scale;
  k->axpy = axpy;
  k->softcap = softcap;
  k->glu[GLU_SILU] = glu_silu;
  k->glu[GLU_GELU_TANH] = glu_gelu_tanh;
  k->glu[GLU_OAI] = glu_oai;
  k->rope = rope;
  k->max = max;
  k->exp_sum = exp_sum;
  k->recur = recur;
  k->conv = conv;
}

}  // namespace hw
