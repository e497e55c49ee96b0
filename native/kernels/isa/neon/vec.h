// The vector vocabulary of kernels/body/ in NEON: 8 floats in two registers, so that the bodies' register tiles (8
// sums, 4 operands) use 26 of the 32 registers. Names and meanings are the same in every ISA; body/math.inl lists them.
#pragma once
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#include "../../float_math.h"

namespace hw {
namespace {

struct Floats8 {
  float32x4_t lo, hi;
};

struct V {
  typedef Floats8 F;
  static constexpr int W = 8;
  // attention's register tiles
  static constexpr int tile_queries = 2, accumulators = 8, key_queries = 4, key_vectors = 1;
  static F in_register(F v) {
    __asm__("" : "+w"(v.lo), "+w"(v.hi));
    return v;
  }

  static uint32x4_t bits(float32x4_t v) { return vreinterpretq_u32_f32(v); }
  static float32x4_t floats(uint32x4_t v) { return vreinterpretq_f32_u32(v); }
  static F set(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
  static F zero() { return set(0.0f); }
  static F load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
  static void store(float* p, F v) {
    vst1q_f32(p, v.lo);
    vst1q_f32(p + 4, v.hi);
  }
  static F load_n(const float* p, int64_t n) {
    float b[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int64_t i = 0; i < n; i++) b[i] = p[i];
    return load(b);
  }
  static void store_n(float* p, F v, int64_t n) {
    float b[8];
    store(b, v);
    for (int64_t i = 0; i < n; i++) p[i] = b[i];
  }
  static F keep(F v, int64_t lo, int64_t hi, F fill) {
    static const int32_t lanes[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    const int32x4_t first = vdupq_n_s32((int32_t)lo), end = vdupq_n_s32((int32_t)hi);
    const int32x4_t a = vld1q_s32(lanes), b = vld1q_s32(lanes + 4);
    return {vbslq_f32(vandq_u32(vcgeq_s32(a, first), vcltq_s32(a, end)), v.lo, fill.lo),
            vbslq_f32(vandq_u32(vcgeq_s32(b, first), vcltq_s32(b, end)), v.hi, fill.hi)};
  }

  static F add(F a, F b) { return {vaddq_f32(a.lo, b.lo), vaddq_f32(a.hi, b.hi)}; }
  static F sub(F a, F b) { return {vsubq_f32(a.lo, b.lo), vsubq_f32(a.hi, b.hi)}; }
  static F mul(F a, F b) { return {vmulq_f32(a.lo, b.lo), vmulq_f32(a.hi, b.hi)}; }
  static F div(F a, F b) { return {vdivq_f32(a.lo, b.lo), vdivq_f32(a.hi, b.hi)}; }
  static F fma(F a, F b, F c) { return {vfmaq_f32(c.lo, a.lo, b.lo), vfmaq_f32(c.hi, a.hi, b.hi)}; }
  static F fmaddsub(F a, F b, F c) {
    const uint32x4_t even = vreinterpretq_u32_u64(vdupq_n_u64(0x80000000u));
    return fma(a, b, {floats(veorq_u32(bits(c.lo), even)), floats(veorq_u32(bits(c.hi), even))});
  }
  // FMIN and FMAX propagate NaNs and order the zeros; the definition is a comparison.
  static float32x4_t min4(float32x4_t a, float32x4_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
  static float32x4_t max4(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
  static F min(F a, F b) { return {min4(a.lo, b.lo), min4(a.hi, b.hi)}; }
  static F max(F a, F b) { return {max4(a.lo, b.lo), max4(a.hi, b.hi)}; }
  static F neg(F a) { return {vnegq_f32(a.lo), vnegq_f32(a.hi)}; }
  static F abs(F a) { return {vabsq_f32(a.lo), vabsq_f32(a.hi)}; }
  static F with_sign_of(F a, F s) {
    const uint32x4_t sign = vdupq_n_u32(0x80000000u);
    return {floats(vorrq_u32(bits(a.lo), vandq_u32(bits(s.lo), sign))),
            floats(vorrq_u32(bits(a.hi), vandq_u32(bits(s.hi), sign)))};
  }
  static float sqrt1(float x) { return vget_lane_f32(vsqrt_f32(vdup_n_f32(x)), 0); }

  static int32x4_t exponent(float32x4_t t) {
    return vsubq_s32(vreinterpretq_s32_f32(t), vdupq_n_s32(kRoundMagicBits));
  }
  static float32x4_t pow2(int32x4_t i) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(i, vdupq_n_s32(127)), 23));
  }
  static float32x4_t scale2(float32x4_t p, float32x4_t t) {
    const int32x4_t i = exponent(t), half = vshrq_n_s32(i, 1);
    return vmulq_f32(vmulq_f32(p, pow2(half)), pow2(vsubq_s32(i, half)));
  }
  static F pow2(F, F t) { return {pow2(exponent(t.lo)), pow2(exponent(t.hi))}; }
  static F scale2(F p, F, F t) { return {scale2(p.lo, t.lo), scale2(p.hi, t.hi)}; }

  static float tree_sum(F v) {
    const float32x4_t x = vaddq_f32(v.lo, v.hi);
    const float32x2_t y = vadd_f32(vget_low_f32(x), vget_high_f32(x));
    return vget_lane_f32(y, 0) + vget_lane_f32(y, 1);
  }
  static float tree_max(F v) {
    const float32x4_t x = max4(v.hi, v.lo);
    const float32x4_t y = max4(vextq_f32(x, x, 2), x);
    return max_f32(vgetq_lane_f32(y, 1), vgetq_lane_f32(y, 0));
  }

  static F dup_n(const float* p, int64_t n) {
    float b[4] = {0, 0, 0, 0};
    for (int64_t i = 0; i < n; i++) b[i] = p[i];
    const float32x4_t v = vld1q_f32(b);
    return {vzip1q_f32(v, v), vzip2q_f32(v, v)};
  }
  static F swap_pairs(F v) { return {vrev64q_f32(v.lo), vrev64q_f32(v.hi)}; }
  // A square of 4 x 4.
  static void turn4(float32x4_t* x) {
    const float32x4_t a = vtrn1q_f32(x[0], x[1]), b = vtrn2q_f32(x[0], x[1]);
    const float32x4_t c = vtrn1q_f32(x[2], x[3]), d = vtrn2q_f32(x[2], x[3]);
    x[0] = vcombine_f32(vget_low_f32(a), vget_low_f32(c));
    x[1] = vcombine_f32(vget_low_f32(b), vget_low_f32(d));
    x[2] = vcombine_f32(vget_high_f32(a), vget_high_f32(c));
    x[3] = vcombine_f32(vget_high_f32(b), vget_high_f32(d));
  }
  static void turn(F* v) {
    float32x4_t a[4], b[4], c[4], d[4];  // the quarters
    for (int i = 0; i < 4; i++) a[i] = v[i].lo, b[i] = v[i].hi, c[i] = v[4 + i].lo, d[i] = v[4 + i].hi;
    turn4(a), turn4(b), turn4(c), turn4(d);
    for (int i = 0; i < 4; i++) v[i] = {a[i], c[i]}, v[4 + i] = {b[i], d[i]};
  }

  static F half_load(const uint8_t* p) {
    const float16x8_t h = vreinterpretq_f16_u8(vld1q_u8(p));
    return {vcvt_f32_f16(vget_low_f16(h)), vcvt_high_f32_f16(h)};
  }
  static F half_load_n(const uint8_t* p, int64_t n) {
    uint8_t b[16] = {0};
    for (int64_t i = 0; i < 2 * n; i++) b[i] = p[i];
    return half_load(b);
  }
  static void half_store(uint8_t* p, F v) {
    vst1q_u8(p, vreinterpretq_u8_f16(vcvt_high_f16_f32(vcvt_f16_f32(v.lo), v.hi)));
  }
  static void half_store_n(uint8_t* p, F v, int64_t n) {
    uint8_t b[16];
    half_store(b, v);
    for (int64_t i = 0; i < 2 * n; i++) p[i] = b[i];
  }
  static F to_floats(int16x8_t v) {
    return {vcvtq_f32_s32(vmovl_s16(vget_low_s16(v))), vcvtq_f32_s32(vmovl_high_s16(v))};
  }
  static F i8_load(const uint8_t* p) { return to_floats(vmovl_s8(vreinterpret_s8_u8(vld1_u8(p)))); }
  static void nibbles_load(const uint8_t* p, F* lo, F* hi) {
    const uint8x8_t b = vld1_u8(p);
    const int8x8_t eight = vdup_n_s8(8);
    *lo = to_floats(vsubl_s8(vreinterpret_s8_u8(vand_u8(b, vdup_n_u8(15))), eight));
    *hi = to_floats(vsubl_s8(vreinterpret_s8_u8(vshr_n_u8(b, 4)), eight));
  }

  // Codes of keys times those of a query.
  struct I {
    int32x4_t lo, hi;
  };
  struct Codes {
    int8x16_t lo, hi;
  };
  static constexpr int code_bias = 0;
  static I int_set(int32_t x) { return {vdupq_n_s32(x), vdupq_n_s32(x)}; }
  static F to_float(I v) { return {vcvtq_f32_s32(v.lo), vcvtq_f32_s32(v.hi)}; }
  static Codes codes_load(const uint8_t* p) { return {vld1q_s8((const int8_t*)p), vld1q_s8((const int8_t*)p + 16)}; }
  static void nibbles_split(const uint8_t* p, Codes* low, Codes* high) {
    const uint8x16_t a = vld1q_u8(p), b = vld1q_u8(p + 16), mask = vdupq_n_u8(15);
    *low = {vreinterpretq_s8_u8(vandq_u8(a, mask)), vreinterpretq_s8_u8(vandq_u8(b, mask))};
    *high = {vreinterpretq_s8_u8(vshrq_n_u8(a, 4)), vreinterpretq_s8_u8(vshrq_n_u8(b, 4))};
  }
  static I dot_codes(I acc, Codes k, const int8_t* q) {
    int32_t four;
    __builtin_memcpy(&four, q, 4);
    const int8x16_t all = vreinterpretq_s8_s32(vdupq_n_s32(four));
    return {vdotq_s32(acc.lo, k.lo, all), vdotq_s32(acc.hi, k.hi, all)};
  }
  static I dot_nibbles(I acc, Codes k, const int8_t* q) { return dot_codes(acc, k, q); }
};

}  // namespace
}  // namespace hw
