// The vector vocabulary of kernels/body/ in AVX2 + FMA + F16C: 8 floats. Names and meanings are the same in every ISA;
// body/math.inl lists them.
#pragma once
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "../../float_math.h"

namespace hw {
namespace {

alignas(32) const int32_t kTailMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

struct V {
  typedef __m256 F;
  static constexpr int W = 8;
  // Attention's register tiles: 8 sums, 4 operands, a broadcast. 12 sums (4 queries x 3) were slower.
  static constexpr int tile_queries = 2, accumulators = 8, key_queries = 4, key_vectors = 1;
  // Otherwise GCC reloads the operand for every query, and two loads a cycle become the limit.
  static F in_register(F v) {
    __asm__("" : "+x"(v));
    return v;
  }

  static __m256i mask_n(int64_t n) { return _mm256_loadu_si256((const __m256i*)(kTailMask + 8 - n)); }
  static F set(float x) { return _mm256_set1_ps(x); }
  static F zero() { return _mm256_setzero_ps(); }
  static F load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, F v) { _mm256_storeu_ps(p, v); }
  static F load_n(const float* p, int64_t n) { return _mm256_maskload_ps(p, mask_n(n)); }
  static void store_n(float* p, F v, int64_t n) { _mm256_maskstore_ps(p, mask_n(n), v); }
  static F keep(F v, int64_t lo, int64_t hi, F fill) {
    const __m256i i = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i in = _mm256_and_si256(_mm256_cmpgt_epi32(i, _mm256_set1_epi32((int32_t)lo - 1)),
                                        _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)hi), i));
    return _mm256_blendv_ps(fill, v, _mm256_castsi256_ps(in));
  }

  static F add(F a, F b) { return _mm256_add_ps(a, b); }
  static F sub(F a, F b) { return _mm256_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm256_mul_ps(a, b); }
  static F div(F a, F b) { return _mm256_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
  static F fmaddsub(F a, F b, F c) { return _mm256_fmaddsub_ps(a, b, c); }
  static F min(F a, F b) { return _mm256_min_ps(a, b); }
  static F max(F a, F b) { return _mm256_max_ps(a, b); }
  static F neg(F a) { return _mm256_xor_ps(a, set(-0.0f)); }
  static F abs(F a) { return _mm256_andnot_ps(set(-0.0f), a); }
  static F with_sign_of(F a, F s) { return _mm256_or_ps(a, _mm256_and_ps(set(-0.0f), s)); }
  static float sqrt1(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

  static __m256i exponent(F t) { return _mm256_sub_epi32(_mm256_castps_si256(t), _mm256_set1_epi32(kRoundMagicBits)); }
  static F pow2(__m256i i) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(i, _mm256_set1_epi32(127)), 23));
  }
  static F pow2(F, F t) { return pow2(exponent(t)); }
  static F scale2(F p, F, F t) {
    const __m256i i = exponent(t), half = _mm256_srai_epi32(i, 1);
    return mul(mul(p, pow2(half)), pow2(_mm256_sub_epi32(i, half)));
  }

  static float tree_sum(F v) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
  }
  static float tree_max(F v) {
    const __m128 lo = _mm256_castps256_ps128(v);
    __m128 x = _mm_max_ps(_mm256_extractf128_ps(v, 1), lo);
    x = _mm_max_ps(_mm_movehl_ps(x, x), x);
    return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(x), x));
  }

  static F dup_n(const float* p, int64_t n) {
    const __m128 x = _mm_maskload_ps(p, _mm256_castsi256_si128(mask_n(n)));
    return _mm256_permutevar8x32_ps(_mm256_castps128_ps256(x), _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
  }
  static F swap_pairs(F v) { return _mm256_permute_ps(v, 0xB1); }
  static void turn(F* v) {
    F a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
      a[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
      a[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
      b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
      b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xEE);
      b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
      b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xEE);
    }
    for (int k = 0; k < 4; k++) {
      v[k] = _mm256_permute2f128_ps(b[k], b[4 + k], 0x20);
      v[4 + k] = _mm256_permute2f128_ps(b[k], b[4 + k], 0x31);
    }
  }

  static F half_load(const uint8_t* p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)); }
  static F half_load_n(const uint8_t* p, int64_t n) {
    alignas(16) uint8_t b[16] = {0};
    for (int64_t i = 0; i < 2 * n; i++) b[i] = p[i];
    return half_load(b);
  }
  static void half_store(uint8_t* p, F v) {
    _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  static void half_store_n(uint8_t* p, F v, int64_t n) {
    alignas(16) uint8_t b[16];
    half_store(b, v);
    for (int64_t i = 0; i < 2 * n; i++) p[i] = b[i];
  }
  static F i8_load(const uint8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
  }
  static void nibbles_load(const uint8_t* p, F* lo, F* hi) {
    const __m256i b = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)), eight = _mm256_set1_epi32(8);
    *lo = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_and_si256(b, _mm256_set1_epi32(15)), eight));
    *hi = _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_srli_epi32(b, 4), eight));
  }

  // Codes of keys times those of a query. VPMADDUBSW takes one unsigned side: the size of a code, whose sign the other
  // gets; its sums of two stay below 2^15 (codes of queries are at least -127).
  typedef __m256i I;
  struct Codes {
    __m256i size, code;
  };
  static constexpr int code_bias = 0;
  static I int_set(int32_t x) { return _mm256_set1_epi32(x); }
  static F to_float(I v) { return _mm256_cvtepi32_ps(v); }
  static Codes codes_load(const uint8_t* p) {
    const __m256i v = _mm256_loadu_si256((const __m256i*)p);
    return {_mm256_abs_epi8(v), v};
  }
  static void nibbles_split(const uint8_t* p, Codes* low, Codes* high) {
    const __m256i b = _mm256_loadu_si256((const __m256i*)p), mask = _mm256_set1_epi8(15);
    low->size = _mm256_and_si256(b, mask);
    high->size = _mm256_and_si256(_mm256_srli_epi16(b, 4), mask);
  }
  static __m256i four(const int8_t* q) {
    int32_t x;
    __builtin_memcpy(&x, q, 4);
    return _mm256_set1_epi32(x);
  }
  static I dot_four(I acc, __m256i size, __m256i q) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(size, q), _mm256_set1_epi16(1)));
  }
  static I dot_codes(I acc, Codes k, const int8_t* q) {
    return dot_four(acc, k.size, _mm256_sign_epi8(four(q), k.code));
  }
  static I dot_nibbles(I acc, Codes k, const int8_t* q) { return dot_four(acc, k.size, four(q)); }
};

}  // namespace
}  // namespace hw
