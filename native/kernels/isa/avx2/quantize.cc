// Activation rows into the Q8 forms on AVX2; AVX-512 uses the same, since this is a thousandth of the matmul's time.
// Magnitudes are compared as integers: the order is the same, and infinities and NaNs come out on top.
#include <immintrin.h>

#include "../../kernels.h"

namespace hw {
namespace {

constexpr int32_t kInfinity = 0x7f800000;

inline __m256i magnitude(const float* x) {
  return _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)), _mm256_set1_epi32(0x7fffffff));
}

inline int32_t largest(__m256i v) {
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

inline float as_float(int32_t bits) { return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(bits))); }
inline int32_t as_bits(float f) { return _mm_cvtsi128_si32(_mm_castps_si128(_mm_set_ss(f))); }

inline __m256i rounded(const float* x, __m256 iscale) {
  return _mm256_cvtps_epi32(_mm256_mul_ps(iscale, _mm256_loadu_ps(x)));
}

// 32 values and their two sums.
inline void quantize_32(const float* x, __m256 iscale, int8_t* q, int16_t* sums) {
  const __m256i low = _mm256_packs_epi32(rounded(x, iscale), rounded(x + 8, iscale));
  const __m256i high = _mm256_packs_epi32(rounded(x + 16, iscale), rounded(x + 24, iscale));
  const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high),
                                                    _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), bytes);
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
  const __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  const __m256i eights = _mm256_add_epi32(fours, _mm256_shuffle_epi32(fours, 0x4e));
  const __m256i sum = _mm256_add_epi32(eights, _mm256_shuffle_epi32(eights, 0xb1));
  sums[0] = static_cast<int16_t>(_mm256_extract_epi32(sum, 0));
  sums[1] = static_cast<int16_t>(_mm256_extract_epi32(sum, 4));
}

inline void zero(int8_t* q, int16_t* sums, int values) {
  for (int i = 0; i < values; i += 32) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(q + i), _mm256_setzero_si256());
    sums[i / 16] = sums[i / 16 + 1] = 0;
  }
}

void quantize_q8_32(const float* x, int8_t* q, float* d, int16_t* sums, int64_t cols) {
  for (int64_t b = 0; b < cols / 32; b++, x += 32, q += 32, sums += 2) {
    const int32_t top = largest(_mm256_max_epi32(_mm256_max_epi32(magnitude(x), magnitude(x + 8)),
                                                 _mm256_max_epi32(magnitude(x + 16), magnitude(x + 24))));
    const __m128i half = _mm_cvtps_ph(_mm_set_ss(as_float(top) / 127.0f), _MM_FROUND_TO_NEAREST_INT);
    d[b] = top < kInfinity ? _mm_cvtss_f32(_mm_cvtph_ps(half)) : __builtin_nanf("");
    if (d[b] > 0) {
      quantize_32(x, _mm256_set1_ps(127.0f / as_float(top)), q, sums);
    } else {
      zero(q, sums, 32);
    }
  }
}

// The first of 256 values that has this magnitude, with its sign.
inline float first_of(const float* x, int32_t top) {
  for (int i = 0; i < 256; i += 8) {
    const __m256i equal = _mm256_cmpeq_epi32(magnitude(x + i), _mm256_set1_epi32(top));
    const int mask = _mm256_movemask_ps(_mm256_castsi256_ps(equal));
    if (mask) return x[i + __builtin_ctz(static_cast<unsigned>(mask))];
  }
  return 0;
}

void quantize_q8_256(const float* x, int8_t* q, float* d, int16_t* sums, int64_t cols) {
  for (int64_t b = 0; b < cols / 256; b++, x += 256, q += 256, sums += 16) {
    __m256i m = magnitude(x);
    for (int i = 8; i < 256; i += 8) m = _mm256_max_epi32(m, magnitude(x + i));
    const int32_t top = largest(m);
    const float iscale = -127.0f / first_of(x, top);
    if (top < kInfinity && (as_bits(iscale) & 0x7fffffff) < kInfinity) {
      d[b] = 1.0f / iscale;
      for (int i = 0; i < 256; i += 32) quantize_32(x + i, _mm256_set1_ps(iscale), q + i, sums + i / 16);
    } else {
      d[b] = top < kInfinity ? 0 : __builtin_nanf("");
      zero(q, sums, 256);
    }
  }
}

}  // namespace

void fill_avx2_quantize(Kernels* k) {
  k->quantize_q8_32 = quantize_q8_32;
  k->quantize_q8_256 = quantize_q8_256;
}

}  // namespace hw
