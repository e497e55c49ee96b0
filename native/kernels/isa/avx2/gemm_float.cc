// Many-row matmul of F32, F16 and BF16 weights; the algorithm is in body/gemm_float.inl.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "../../kernels.h"

namespace hw {

namespace {

#define HW_GEMM_TILE 3
typedef __m256 F;
constexpr int kLanes = 8;
constexpr int kTile = HW_GEMM_TILE;
constexpr int kRows = 8, kGroup = 128, kChunk = 512;
constexpr bool kPanel = true;

inline F f_load(const float* p) { return _mm256_loadu_ps(p); }
inline void f_store(float* p, F v) { _mm256_storeu_ps(p, v); }
inline F f_fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
inline F f_zero() { return _mm256_setzero_ps(); }

template <Dtype D>
inline F f_weights(const uint8_t* p) {
  static_assert(D == F32, "halves come from the panel");
  return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
}

template <Dtype D>
inline void f_convert(const uint8_t* from, float* to) {
  for (int i = 0; i < 32; i += 8) {
    if (D == F32) {
      _mm256_storeu_ps(to + i, _mm256_loadu_ps(reinterpret_cast<const float*>(from + 4 * i)));
    } else {
      const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * i));
      _mm256_storeu_ps(to + i, D == F16 ? _mm256_cvtph_ps(h)
                                        : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)));
    }
  }
}

// p[0..3] of four outputs, the tree's last two steps: (p0 + p2) + (p1 + p3).
inline void reduce_last(const __m128* v, float* out) {
  __m128 a = v[0], b = v[1], c = v[2], d = v[3];
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(a, c), _mm_add_ps(b, d)));
}

inline void f_reduce4(const float* p, int stride, float* out) {
  __m128 v[4];
  for (int i = 0; i < 4; i++, p += stride) {
    const __m256 a = _mm256_add_ps(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 16));
    const __m256 b = _mm256_add_ps(_mm256_loadu_ps(p + 8), _mm256_loadu_ps(p + 24));
    const __m256 s = _mm256_add_ps(a, b);
    v[i] = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  }
  reduce_last(v, out);
}

#include "../../body/gemm_float.inl"

}  // namespace

void fill_avx2_gemm_float(Kernels* k) {
  set_float<F32>(k, 5);
  set_float<F16>(k, 5);
  set_float<BF16>(k, 5);
}

}  // namespace hw
