// The vector vocabulary of kernels/body/ in AVX-512 (F, BW, DQ, VL): 16 floats. Names and meanings are the same in
// every ISA; body/math.inl lists them.
#pragma once
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "../../float_math.h"

namespace hw {
namespace {

struct V {
  typedef __m512 F;
  static constexpr int W = 16;
  static constexpr int tile_queries = 4, accumulators = 16;  // attention: queries and sums of a tile of values
  static constexpr int key_queries = 4, key_vectors = 2;     // scores: queries and vectors of keys of a tile
  static F in_register(F v) { return v; }

  static int64_t clamp(int64_t n) { return n < 0 ? 0 : n > 16 ? 16 : n; }
  static __mmask16 mask_n(int64_t n) { return (__mmask16)_bzhi_u32(0xFFFFu, (uint32_t)n); }
  static F set(float x) { return _mm512_set1_ps(x); }
  static F zero() { return _mm512_setzero_ps(); }
  static F load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, F v) { _mm512_storeu_ps(p, v); }
  static F load_n(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(mask_n(n), p); }
  static void store_n(float* p, F v, int64_t n) { _mm512_mask_storeu_ps(p, mask_n(n), v); }
  static F keep(F v, int64_t lo, int64_t hi, F fill) {
    const __mmask16 in = (__mmask16)(mask_n(clamp(hi)) & ~mask_n(clamp(lo)));
    return _mm512_mask_mov_ps(fill, in, v);
  }

  static F add(F a, F b) { return _mm512_add_ps(a, b); }
  static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
  static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
  static F div(F a, F b) { return _mm512_div_ps(a, b); }
  static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
  static F fmaddsub(F a, F b, F c) { return _mm512_fmaddsub_ps(a, b, c); }
  static F min(F a, F b) { return _mm512_min_ps(a, b); }
  static F max(F a, F b) { return _mm512_max_ps(a, b); }
  static F neg(F a) { return _mm512_xor_ps(a, set(-0.0f)); }
  static F abs(F a) { return _mm512_andnot_ps(set(-0.0f), a); }
  static F with_sign_of(F a, F s) { return _mm512_or_ps(a, _mm512_and_ps(set(-0.0f), s)); }
  static float sqrt1(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

  // vscalefps rounds p * 2^n once, as the two-factor product of the scalar definition does.
  static F pow2(F n, F) { return _mm512_scalef_ps(set(1.0f), n); }
  static F scale2(F p, F n, F) { return _mm512_scalef_ps(p, n); }

  static float tree_sum(F v) {
    const __m256 y = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
  }
  static float tree_max(F v) {
    const __m256 lo8 = _mm512_castps512_ps256(v), y = _mm256_max_ps(_mm512_extractf32x8_ps(v, 1), lo8);
    const __m128 lo4 = _mm256_castps256_ps128(y);
    __m128 x = _mm_max_ps(_mm256_extractf128_ps(y, 1), lo4);
    x = _mm_max_ps(_mm_movehl_ps(x, x), x);
    return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(x), x));
  }

  static F dup_n(const float* p, int64_t n) {
    const __m512 x = _mm512_maskz_loadu_ps(mask_n(n), p);
    return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7), x);
  }
  static F swap_pairs(F v) { return _mm512_permute_ps(v, 0xB1); }
  static void turn(F* v) {
    F a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
      a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
      a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
    const auto low = [](F x, F y) {
      return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)));
    };
    const auto high = [](F x, F y) {
      return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(x), _mm512_castps_pd(y)));
    };
    for (int i = 0; i < 16; i += 4) {
      b[i] = low(a[i], a[i + 2]);
      b[i + 1] = high(a[i], a[i + 2]);
      b[i + 2] = low(a[i + 1], a[i + 3]);
      b[i + 3] = high(a[i + 1], a[i + 3]);
    }
    // Quarter L of b[4 g + k] is now column 4 L + k of rows 4 g to 4 g + 3.
    for (int k = 0; k < 4; k++) {
      const F even = _mm512_shuffle_f32x4(b[k], b[4 + k], 0x88), odd = _mm512_shuffle_f32x4(b[k], b[4 + k], 0xDD);
      const F even2 = _mm512_shuffle_f32x4(b[8 + k], b[12 + k], 0x88);
      const F odd2 = _mm512_shuffle_f32x4(b[8 + k], b[12 + k], 0xDD);
      v[k] = _mm512_shuffle_f32x4(even, even2, 0x88);
      v[4 + k] = _mm512_shuffle_f32x4(odd, odd2, 0x88);
      v[8 + k] = _mm512_shuffle_f32x4(even, even2, 0xDD);
      v[12 + k] = _mm512_shuffle_f32x4(odd, odd2, 0xDD);
    }
  }

  static F half_load(const uint8_t* p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p)); }
  static F half_load_n(const uint8_t* p, int64_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask_n(n), p));
  }
  static void half_store(uint8_t* p, F v) {
    _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  static void half_store_n(uint8_t* p, F v, int64_t n) {
    _mm256_mask_storeu_epi16(p, mask_n(n), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
  }
  static F i8_load(const uint8_t* p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)));
  }
  static void nibbles_load(const uint8_t* p, F* lo, F* hi) {
    const __m512i b = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)), eight = _mm512_set1_epi32(8);
    *lo = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_and_si512(b, _mm512_set1_epi32(15)), eight));
    *hi = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_srli_epi32(b, 4), eight));
  }

  // Codes of keys times those of a query.
  typedef __m512i I;
  typedef __m512i Codes;
  static constexpr int code_bias = 128;
  static I int_set(int32_t x) { return _mm512_set1_epi32(x); }
  static F to_float(I v) { return _mm512_cvtepi32_ps(v); }
  static Codes codes_load(const uint8_t* p) {
    return _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_set1_epi8((char)0x80));
  }
  static void nibbles_split(const uint8_t* p, Codes* low, Codes* high) {
    const __m512i b = _mm512_loadu_si512(p), mask = _mm512_set1_epi8(15);
    *low = _mm512_and_si512(b, mask);
    *high = _mm512_and_si512(_mm512_srli_epi16(b, 4), mask);
  }
  static I dot_codes(I acc, Codes k, const int8_t* q) {
    int32_t four;
    __builtin_memcpy(&four, q, 4);
    return _mm512_dpbusd_epi32(acc, k, _mm512_set1_epi32(four));
  }
  static I dot_nibbles(I acc, Codes k, const int8_t* q) { return dot_codes(acc, k, q); }
};

}  // namespace
}  // namespace hw
