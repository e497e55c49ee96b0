// Many-row matmul of F32, F16 and BF16 weights; the algorithm is in body/gemm_float.inl. One register per sum: 4 x 6
// outputs, four weights and an activation take 29 of the 32 registers.
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#include "../../kernels.h"

namespace hw {

namespace {

#define HW_GEMM_TILE 6
typedef float32x4_t F;
constexpr int kLanes = 4;
constexpr int kTile = HW_GEMM_TILE;
constexpr int kRows = 8, kGroup = 128, kChunk = 512;
constexpr bool kPanel = true;

inline F f_load(const float* p) { return vld1q_f32(p); }
inline void f_store(float* p, F v) { vst1q_f32(p, v); }
inline F f_fma(F a, F b, F c) { return vfmaq_f32(c, a, b); }
inline F f_zero() { return vdupq_n_f32(0); }

template <Dtype D>
inline F f_weights(const uint8_t* p) {
  static_assert(D == F32, "halves come from the panel");
  return vreinterpretq_f32_u8(vld1q_u8(p));
}

template <Dtype D>
inline void f_convert(const uint8_t* from, float* to) {
  for (int i = 0; i < 32; i += 4) {
    if (D == F32) {
      vst1q_f32(to + i, vreinterpretq_f32_u8(vld1q_u8(from + 4 * i)));
    } else {
      const uint8x8_t h = vld1_u8(from + 2 * i);
      vst1q_f32(to + i, D == F16 ? vcvt_f32_f16(vreinterpret_f16_u8(h))
                                 : vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(h), 16)));
    }
  }
}

// Four outputs: the tree down to p[0..3] in registers, its last two steps by pairwise adds of (p0 + p2, p1 + p3).
inline void f_reduce4(const float* p, int stride, float* out) {
  float32x4_t v[4];
  for (int i = 0; i < 4; i++, p += stride) {
    const float32x4_t a = vaddq_f32(vld1q_f32(p), vld1q_f32(p + 16));
    const float32x4_t b = vaddq_f32(vld1q_f32(p + 4), vld1q_f32(p + 20));
    const float32x4_t c = vaddq_f32(vld1q_f32(p + 8), vld1q_f32(p + 24));
    const float32x4_t d = vaddq_f32(vld1q_f32(p + 12), vld1q_f32(p + 28));
    v[i] = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
  }
  const auto fold = [](float32x4_t x, float32x4_t y) {
    return vcombine_f32(vadd_f32(vget_low_f32(x), vget_high_f32(x)), vadd_f32(vget_low_f32(y), vget_high_f32(y)));
  };
  vst1q_f32(out, vpaddq_f32(fold(v[0], v[1]), fold(v[2], v[3])));
}

#include "../../body/gemm_float.inl"

}  // namespace

// Row counts estimated from the other ISAs, not measured (docs/decisions/0006).
void fill_neon_gemm_float(Kernels* k) {
  set_float<F32>(k, 5);
  set_float<F16>(k, 5);
  set_float<BF16>(k, 5);
}

}  // namespace hw
