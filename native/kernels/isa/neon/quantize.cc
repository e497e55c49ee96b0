// Activation rows into the Q8 forms on NEON. Magnitudes are compared as integers: the order is the same, and infinities
// and NaNs come out on top.
#include <arm_neon.h>

#include "../../half.h"
#include "../../kernels.h"

namespace hw {
namespace {

constexpr uint32_t kInfinity = 0x7f800000;

inline uint32x4_t magnitude(const float* x) {
  return vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x)), vdupq_n_u32(0x7fffffff));
}

inline uint32_t largest(const float* x, int values) {
  uint32x4_t a = magnitude(x), b = magnitude(x + 4);
  for (int i = 8; i < values; i += 8) {
    a = vmaxq_u32(a, magnitude(x + i));
    b = vmaxq_u32(b, magnitude(x + i + 4));
  }
  return vmaxvq_u32(vmaxq_u32(a, b));
}

inline float through_half(float x) {
  return vgetq_lane_f32(vcvt_f32_f16(vcvt_f16_f32(vdupq_n_f32(x))), 0);
}

inline int16x4_t rounded(const float* x, float iscale) {
  return vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), iscale)));
}

inline void quantize_block(const float* x, float iscale, int8_t* q, int16_t* sums, int values) {
  for (int i = 0; i < values; i += 16) {
    const int16x8_t a = vcombine_s16(rounded(x + i, iscale), rounded(x + i + 4, iscale));
    const int16x8_t b = vcombine_s16(rounded(x + i + 8, iscale), rounded(x + i + 12, iscale));
    const int8x16_t bytes = vcombine_s8(vqmovn_s16(a), vqmovn_s16(b));
    vst1q_s8(q + i, bytes);
    sums[i / 16] = vaddlvq_s8(bytes);
  }
}

inline void zero(int8_t* q, int16_t* sums, int values) {
  for (int i = 0; i < values; i += 16) {
    vst1q_s8(q + i, vdupq_n_s8(0));
    sums[i / 16] = 0;
  }
}

void quantize_q8_32(const float* x, int8_t* q, float* d, int16_t* sums, int64_t cols) {
  for (int64_t b = 0; b < cols / 32; b++, x += 32, q += 32, sums += 2) {
    const uint32_t top = largest(x, 32);
    d[b] = top < kInfinity ? through_half(bits_float(top) / 127.0f) : __builtin_nanf("");
    if (d[b] > 0) {
      quantize_block(x, 127.0f / bits_float(top), q, sums, 32);
    } else {
      zero(q, sums, 32);
    }
  }
}

// The first of 256 values that has this magnitude, with its sign.
inline float first_of(const float* x, uint32_t top) {
  for (int i = 0; i < 256; i += 4) {
    if (vmaxvq_u32(vceqq_u32(magnitude(x + i), vdupq_n_u32(top))) == 0) continue;
    for (int j = i; j < i + 4; j++) {
      if ((float_bits(x[j]) & 0x7fffffff) == top) return x[j];
    }
  }
  return 0;
}

void quantize_q8_256(const float* x, int8_t* q, float* d, int16_t* sums, int64_t cols) {
  for (int64_t b = 0; b < cols / 256; b++, x += 256, q += 256, sums += 16) {
    const uint32_t top = largest(x, 256);
    const float iscale = -127.0f / first_of(x, top);
    if (top < kInfinity && (float_bits(iscale) & 0x7fffffff) < kInfinity) {
      d[b] = 1.0f / iscale;
      quantize_block(x, iscale, q, sums, 256);
    } else {
      d[b] = top < kInfinity ? 0 : __builtin_nanf("");
      zero(q, sums, 256);
    }
  }
}

}  // namespace

void fill_neon_quantize(Kernels* k) {
  k->quantize_q8_32 = quantize_q8_32;
  k->quantize_q8_256 = quantize_q8_256;
}

}  // namespace hw
