// F32, F16 and BF16 weights on NEON: the 32 partial sums of the canonical order are eight registers, so three
// activation rows fit the 32 registers and four go as two and two.
#include <arm_neon.h>

#include "../../body/matvec_rows.inl"

namespace hw {
namespace {

struct LoadF32 {
  static constexpr int kBytes = 4;
  static float32x4_t four(const uint8_t* p) { return vreinterpretq_f32_u8(vld1q_u8(p)); }
};
struct LoadF16 {
  static constexpr int kBytes = 2;
  static float32x4_t four(const uint8_t* p) { return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p))); }
};
struct LoadBF16 {
  static constexpr int kBytes = 2;
  static float32x4_t four(const uint8_t* p) {
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
  }
};

inline float tree(const float32x4_t* p) {
  const float32x4_t a = vaddq_f32(p[0], p[4]), b = vaddq_f32(p[1], p[5]);
  const float32x4_t c = vaddq_f32(p[2], p[6]), d = vaddq_f32(p[3], p[7]);
  const float32x4_t four = vaddq_f32(vaddq_f32(a, c), vaddq_f32(b, d));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}

template <class Load>
struct Kind {
  template <int T>
  static inline void step(const uint8_t* w, const float* const* x, float32x4_t (*p)[8]) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      const float32x4_t v = Load::four(w + 4 * i * Load::kBytes);
#pragma GCC unroll 4
      for (int t = 0; t < T; t++) p[t][i] = vfmaq_f32(p[t][i], v, vld1q_f32(x[t] + 4 * i));
    }
  }

  template <int T>
  static void some(const uint8_t* w, int32_t cols, const ActRow* acts, float* out, int64_t out_stride) {
    float32x4_t p[T][8];
    const float* x[T];
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
      x[t] = acts[t].f32;
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) p[t][i] = vdupq_n_f32(0);
    }
    int32_t k = 0;
    for (; k + 32 <= cols; k += 32, w += 32 * Load::kBytes) {
      for (int i = 0; i < 32 * Load::kBytes; i += 64) __builtin_prefetch(w + 2048 + i);
      step<T>(w, x, p);
#pragma GCC unroll 4
      for (int t = 0; t < T; t++) x[t] += 32;
    }
    if (k < cols) {
      // The rest as a step of its own, zero-padded: nothing behind the last weight may be read.
      alignas(16) uint8_t rest[32 * Load::kBytes] = {};
      alignas(16) float rest_x[T][32] = {};
      for (int i = 0; i < (cols - k) * Load::kBytes; i++) rest[i] = w[i];
      const float* padded[T];
      for (int t = 0; t < T; t++) {
        for (int i = 0; i < cols - k; i++) rest_x[t][i] = x[t][i];
        padded[t] = rest_x[t];
      }
      step<T>(rest, padded, p);
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) out[t * out_stride] = tree(p[t]);
  }

  template <int T>
  static void row(const uint8_t* w, int32_t cols, const ActRow* acts, float* out, int64_t out_stride) {
    if constexpr (T < 4) {
      some<T>(w, cols, acts, out, out_stride);
    } else {
      some<2>(w, cols, acts, out, out_stride);
      some<2>(w, cols, acts + 2, out + 2 * out_stride, out_stride);
    }
  }
};

}  // namespace

void fill_neon_matvec_float(Kernels* k) {
#define HW_KERNEL(T) set_matvec(k, T, MatvecRows<Kind<Load##T>>::run);
  HW_MATVEC_FLOAT(HW_KERNEL)
}

}  // namespace hw
