// Many-row matmul of F32, F16 and BF16 weights; the algorithm is in body/gemm_float.inl.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "../../kernels.h"

namespace hw {

namespace {

#define HW_GEMM_TILE 6
typedef __m512 F;
constexpr int kLanes = 16;
constexpr int kTile = HW_GEMM_TILE;
// Measured on Zen 5 (docs/decisions/0015): shorter chunks pay more for parked sums, longer ones leave L1.
constexpr int kRows = 48, kGroup = 24, kChunk = 1024;
constexpr bool kPanel = false;  // converting is 4 or 8 of 38 instructions of a tile, on other ports

inline F f_load(const float* p) { return _mm512_loadu_ps(p); }
inline void f_store(float* p, F v) { _mm512_storeu_ps(p, v); }
inline F f_fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
inline F f_zero() { return _mm512_setzero_ps(); }

template <Dtype D>
inline F f_weights(const uint8_t* p) {
  if (D == F32) return _mm512_loadu_ps(p);
  const __m256i h = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  if (D == F16) return _mm512_cvtph_ps(h);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
// Without a panel nothing converts ahead of the tiles.
template <Dtype D>
inline void f_convert(const uint8_t*, float*);

// p[0..3] of four outputs, the tree's last two steps: (p0 + p2) + (p1 + p3).
inline void reduce_last(const __m128* v, float* out) {
  __m128 a = v[0], b = v[1], c = v[2], d = v[3];
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(a, c), _mm_add_ps(b, d)));
}

inline void f_reduce4(const float* p, int stride, float* out) {
  __m128 v[4];
  for (int i = 0; i < 4; i++, p += stride) {
    const __m512 h = _mm512_add_ps(_mm512_loadu_ps(p), _mm512_loadu_ps(p + 16));
    const __m256 s = _mm256_add_ps(_mm512_castps512_ps256(h), _mm512_extractf32x8_ps(h, 1));
    v[i] = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  }
  reduce_last(v, out);
}

#include "../../body/gemm_float.inl"

}  // namespace

void fill_avx512_gemm_float(Kernels* k) {
  set_float<F32>(k, 3);
  set_float<F16>(k, 3);
  set_float<BF16>(k, 3);
}

}  // namespace hw
