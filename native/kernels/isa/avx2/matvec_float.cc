// F32, F16 and BF16 weights on AVX2: the 32 partial sums of the canonical order are four registers.
#include <immintrin.h>

#include "../../body/matvec_rows.inl"

namespace hw {
namespace {

inline const __m128i* m128(const uint8_t* p) { return reinterpret_cast<const __m128i*>(p); }

struct LoadF32 {
  static constexpr int kBytes = 4;
  static __m256 eight(const uint8_t* p) { return _mm256_loadu_ps(reinterpret_cast<const float*>(p)); }
};
struct LoadF16 {
  static constexpr int kBytes = 2;
  static __m256 eight(const uint8_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128(m128(p))); }
};
struct LoadBF16 {
  static constexpr int kBytes = 2;
  static __m256 eight(const uint8_t* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(m128(p))), 16));
  }
};

inline float tree(const __m256* p) {
  const __m256 eight = _mm256_add_ps(_mm256_add_ps(p[0], p[2]), _mm256_add_ps(p[1], p[3]));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

template <class Load>
struct Kind {
  template <int T>
  static inline void step(const uint8_t* w, const float* const* x, __m256 (*p)[4]) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const __m256 v = Load::eight(w + 8 * i * Load::kBytes);
      for (int t = 0; t < T; t++) p[t][i] = _mm256_fmadd_ps(v, _mm256_loadu_ps(x[t] + 8 * i), p[t][i]);
    }
  }

  template <int T>
  static void row(const uint8_t* w, int32_t cols, const ActRow* acts, float* out, int64_t out_stride) {
    __m256 p[T][4];
    const float* x[T];
    for (int t = 0; t < T; t++) {
      x[t] = acts[t].f32;
      for (int i = 0; i < 4; i++) p[t][i] = _mm256_setzero_ps();
    }
    int32_t k = 0;
    for (; k + 32 <= cols; k += 32, w += 32 * Load::kBytes) {
      // Halves: to the second level and farther ahead, as in lanes_x86.inl. F32 does no better that way.
      constexpr bool kHalves = Load::kBytes == 2;
      for (int i = 0; i < 32 * Load::kBytes; i += 64) {
        const char* ahead = reinterpret_cast<const char*>(w + (kHalves ? 6144 : 2048) + i);
        _mm_prefetch(ahead, kHalves ? _MM_HINT_T1 : _MM_HINT_T0);
      }
      step<T>(w, x, p);
      for (int t = 0; t < T; t++) x[t] += 32;
    }
    if (k < cols) {
      // The rest as a step of its own, zero-padded: nothing behind the last weight may be read.
      alignas(32) uint8_t rest[32 * Load::kBytes] = {};
      alignas(32) float rest_x[T][32] = {};
      __builtin_memcpy(rest, w, static_cast<size_t>(cols - k) * Load::kBytes);
      for (int t = 0; t < T; t++) {
        __builtin_memcpy(rest_x[t], x[t], static_cast<size_t>(cols - k) * sizeof(float));
        x[t] = rest_x[t];
      }
      step<T>(rest, x, p);
    }
    for (int t = 0; t < T; t++) out[t * out_stride] = tree(p[t]);
  }
};

}  // namespace

void fill_avx2_matvec_float(Kernels* k) {
#define HW_KERNEL(T) set_matvec(k, T, MatvecRows<Kind<Load##T>>::run);
  HW_MATVEC_FLOAT(HW_KERNEL)
}

}  // namespace hw
