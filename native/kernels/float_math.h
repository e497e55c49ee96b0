// exp, tanh, sigmoid: the constants and the plain-C definition every ISA reproduces bit for bit.
//
// One evaluation order for all: x = n ln2 + r with |r| <= ln2/2, e^r = 1 + r + r^2 P(r), every step one fma or one
// rounded operation. `min`/`max` mean `a < b ? a : b` and `a > b ? a : b`: with a NaN they return b, as x86 does.
// A NaN argument gives a NaN; its sign and payload are not part of the contract (they follow operand order).
//
// Error against the true value, over all finite floats (float_test measures and asserts it):
//   exp      <= 1 ULP where the result is normal; subnormal results within 1 subnormal step; 0 below -104, inf
//            above 88.73
//   tanh     <= 3 ULP, odd, tanh(-0) = -0, +-1 from |x| = 10 on
//   sigmoid  <= 3 ULP where the result is normal; below -88.73 it is 0 (the true value is under 2^-127)
// P is a weighted minimax fit of (e^r - 1 - r) / r^2 on |r| <= 0.3468 with the first coefficient pinned to 1/2 (then
// expm1 keeps its relative accuracy near 0); 0.07 ULP of e^r.
//
// Static functions only: each object gets its own copy, compiled with its own flags.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "half.h"

namespace hw {

constexpr float kLog2e = 0x1.715476p+0f;
constexpr float kLn2Hi = 0x1.63p-1f;         // 9 significant bits: n * kLn2Hi is exact
constexpr float kLn2Lo = -0x1.bd0106p-13f;
constexpr float kRoundMagic = 12582912.0f;   // 1.5 * 2^23: adding it rounds to an integer, kept in the low bits
constexpr int32_t kRoundMagicBits = 0x4B400000;
constexpr float kExpMin = -105.0f;           // e^-105 < 2^-150 rounds to 0
constexpr float kExpMax = 89.0f;             // e^89 > FLT_MAX
constexpr float kTanhMax = 10.0f;            // 1 - tanh(10) < 2^-27
constexpr float kExpC2 = 0.5f, kExpC3 = 0x1.5554a2p-3f, kExpC4 = 0x1.55567ap-5f, kExpC5 = 0x1.12304ep-7f,
                kExpC6 = 0x1.6b7d3ep-10f;
constexpr float kGeluC0 = 0.7978845608028654f;   // sqrt(2 / pi)
constexpr float kGeluC1 = 0.035677408136300125f; // 0.044715 sqrt(2 / pi)
constexpr float kOaiAlpha = 1.702f, kOaiLimit = 7.0f;

static inline float min_f32(float a, float b) { return a < b ? a : b; }
static inline float max_f32(float a, float b) { return a > b ? a : b; }

// P(r), Horner from the top.
static inline float exp_poly(float r) {
  float p = kExpC6;
  p = __builtin_fmaf(p, r, kExpC5);
  p = __builtin_fmaf(p, r, kExpC4);
  p = __builtin_fmaf(p, r, kExpC3);
  return __builtin_fmaf(p, r, kExpC2);
}

// n (returned as a float and in *i) and r of x = n ln2 + r; |x| must be below 2^21.
static inline float exp_reduce(float x, float* r, int32_t* i) {
  const float t = __builtin_fmaf(x, kLog2e, kRoundMagic);
  const float n = t - kRoundMagic;
  *i = (int32_t)(float_bits(t) - (uint32_t)kRoundMagicBits);
  *r = __builtin_fmaf(n, -kLn2Lo, __builtin_fmaf(n, -kLn2Hi, x));
  return n;
}

static inline float scalar_exp(float x) {
  x = min_f32(kExpMax, max_f32(kExpMin, x));
  float r;
  int32_t i;
  exp_reduce(x, &r, &i);
  float p = exp_poly(r);
  p = __builtin_fmaf(p, r, 1.0f);
  p = __builtin_fmaf(p, r, 1.0f);
  // 2^i in two factors: the first product is exact, so the result is rounded once even when subnormal.
  const int32_t half = i >> 1;
  return p * bits_float((uint32_t)(half + 127) << 23) * bits_float((uint32_t)(i - half + 127) << 23);
}

// expm1(y) / (expm1(y) + 2), y = 2|x|: no cancellation near 0 and no overflow.
static inline float scalar_tanh(float x) {
  const uint32_t sign = float_bits(x) & 0x80000000u;
  const float a = min_f32(kTanhMax, bits_float(float_bits(x) & 0x7FFFFFFFu));
  float r;
  int32_t i;
  exp_reduce(a + a, &r, &i);
  const float q = __builtin_fmaf(r * r, exp_poly(r), r);
  const float s = bits_float((uint32_t)(i + 127) << 23);
  const float e = __builtin_fmaf(s, q, s - 1.0f);
  return bits_float(float_bits(e / (e + 2.0f)) | sign);
}

static inline float scalar_softcap(float x, float c) { return c * scalar_tanh(x / c); }

// x * sigmoid(z), in the one-division form every gate uses.
static inline float scalar_gate(float x, float z) { return x / (1.0f + scalar_exp(-z)); }

// 0.5 (1 + tanh u) = sigmoid(2u): the tanh form cancels for negative x, this one does not.
static inline float scalar_gelu_tanh(float x) {
  const float u = x * __builtin_fmaf(x * x, kGeluC1, kGeluC0);
  return scalar_gate(x, u + u);
}

// The fixed tree of "float dot": p[i] += p[i + 16], += p[i + 8], ... Destroys p.
static inline float tree_sum(float* p) {
  for (int h = 16; h > 0; h >>= 1)
    for (int i = 0; i < h; i++) p[i] = p[i] + p[i + h];
  return p[0];
}

// The same tree for a maximum; NaNs lose, so 32 NaNs give the initial -inf.
static inline float tree_max(float* p) {
  for (int h = 16; h > 0; h >>= 1)
    for (int i = 0; i < h; i++) p[i] = max_f32(p[i + h], p[i]);
  return p[0];
}

}  // namespace hw
