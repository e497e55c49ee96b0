// F32, F16 and BF16 weights on AVX-512: the 32 partial sums of the canonical order are two registers, and the last
// step of a row is masked.
#include <immintrin.h>

#include "../../body/matvec_rows.inl"

namespace hw {
namespace {

struct LoadF32 {
  static constexpr int kBytes = 4;
  static __m512 sixteen(const uint8_t* p, __mmask16 m) { return _mm512_maskz_loadu_ps(m, p); }
};
struct LoadF16 {
  static constexpr int kBytes = 2;
  static __m512 sixteen(const uint8_t* p, __mmask16 m) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, p)); }
};
struct LoadBF16 {
  static constexpr int kBytes = 2;
  static __m512 sixteen(const uint8_t* p, __mmask16 m) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p)), 16));
  }
};

inline float tree(__m512 p0, __m512 p1) {
  const __m512 sixteen = _mm512_add_ps(p0, p1);
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(sixteen), _mm512_extractf32x8_ps(sixteen, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

template <class Load>
struct Kind {
  template <int T>
  static inline void step(const uint8_t* w, const float* const* x, int64_t k, __mmask32 m, __m512 (*p)[2]) {
    const __mmask16 m0 = static_cast<__mmask16>(m), m1 = static_cast<__mmask16>(m >> 16);
    const __m512 w0 = Load::sixteen(w, m0), w1 = Load::sixteen(w + 16 * Load::kBytes, m1);
    for (int t = 0; t < T; t++) {
      p[t][0] = _mm512_fmadd_ps(w0, _mm512_maskz_loadu_ps(m0, x[t] + k), p[t][0]);
      p[t][1] = _mm512_fmadd_ps(w1, _mm512_maskz_loadu_ps(m1, x[t] + k + 16), p[t][1]);
    }
  }

  template <int T>
  static void row(const uint8_t* w, int32_t cols, const ActRow* acts, float* out, int64_t out_stride) {
    __m512 p[T][2];
    const float* x[T];
    for (int t = 0; t < T; t++) {
      x[t] = acts[t].f32;
      p[t][0] = p[t][1] = _mm512_setzero_ps();
    }
    int32_t k = 0;
    for (; k + 32 <= cols; k += 32, w += 32 * Load::kBytes) {
      // Halves: to the second level and farther ahead, as in lanes_x86.inl. F32 does no better that way.
      constexpr bool kHalves = Load::kBytes == 2;
      for (int i = 0; i < 32 * Load::kBytes; i += 64) {
        const char* ahead = reinterpret_cast<const char*>(w + (kHalves ? 6144 : 2048) + i);
        _mm_prefetch(ahead, kHalves ? _MM_HINT_T1 : _MM_HINT_T0);
      }
      step<T>(w, x, k, ~static_cast<__mmask32>(0), p);
    }
    if (k < cols) step<T>(w, x, k, (static_cast<__mmask32>(1) << (cols - k)) - 1, p);
    for (int t = 0; t < T; t++) out[t * out_stride] = tree(p[t][0], p[t][1]);
  }
};

}  // namespace

void fill_avx512_matvec_float(Kernels* k) {
#define HW_KERNEL(T) set_matvec(k, T, MatvecRows<Kind<Load##T>>::run);
  HW_MATVEC_FLOAT(HW_KERNEL)
}

}  // namespace hw
