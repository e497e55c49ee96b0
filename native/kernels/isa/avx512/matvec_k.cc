// Blocks of 256 values on AVX-512 VNNI. A block is four registers of 64 values in their natural order as unsigned
// bytes; after VPDPBUSD each 128-bit lane holds four partial sums of one group of 16 values, at most 4 * 63 * 127, so
// two registers pack into 16 bits and VPDPWSSD applies the group scales. IQ4_XS (codes + 128) does not fit 16 bits and
// multiplies in 32. What the unsigned form adds is taken off through the activation sums: `fix` holds -offset * scale
// (or the minimums) per 16 values.
#include <immintrin.h>

#include "../../blocks.h"
#include "block256.inl"

namespace hw {
namespace {

struct PairScales {
  __m512i s[2];
  __m256i fix;
  explicit PairScales(const uint8_t* p) {
    const __m128i pairs = scale_min_pairs(p);
    s[0] = pack_unsigned<0, 2>(pairs);
    s[1] = pack_unsigned<1, 2>(pairs);
    fix = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(pairs, pairs));
  }
};

inline __m512i nibbles(const uint8_t* qs, int k) {
  return _mm512_and_si512(_mm512_srlv_epi64(both_halves(qs + 32 * k), halves(0, 4)), _mm512_set1_epi8(15));
}

// `add` to the bytes of v whose bit is set: bit 2k of `bits` for the first 32 values, bit 2k + 1 for the others.
inline __m512i add_bits(__m512i v, __m512i bits, int k, int add) {
  const __mmask64 set = _mm512_test_epi8_mask(bits, half_bytes(1 << (2 * k), 2 << (2 * k)));
  return _mm512_mask_add_epi8(v, set, v, _mm512_set1_epi8(static_cast<char>(add)));
}

struct UnpackQ4_K : PairScales {
  static constexpr int kBlockBytes = 144, kScaleAt = 0;
  static constexpr bool kMin = true, kWide = false;
  __m512i w[4];
  explicit UnpackQ4_K(const uint8_t* p) : PairScales(p + 4) {
    for (int k = 0; k < 4; k++) w[k] = nibbles(p + 16, k);
  }
};

struct UnpackQ5_K : PairScales {
  static constexpr int kBlockBytes = 176, kScaleAt = 0;
  static constexpr bool kMin = true, kWide = false;
  __m512i w[4];
  explicit UnpackQ5_K(const uint8_t* p) : PairScales(p + 4) {
    const __m512i qh = both_halves(p + 16);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) w[k] = add_bits(nibbles(p + 48, k), qh, k, 16);
  }
};

struct UnpackQ6_K {
  static constexpr int kBlockBytes = 210, kScaleAt = 208;
  static constexpr bool kMin = false, kWide = false;
  __m512i s[2], w[4];
  __m256i fix;
  explicit UnpackQ6_K(const uint8_t* p) {
    const __m256i scales = _mm256_cvtepi8_epi16(load128(p + 192));
    for (int h = 0; h < 2; h++) s[h] = pack_order(scales, h);
    fix = _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_slli_epi16(scales, 5));
    const __m512i low = _mm512_set1_epi8(15), two = _mm512_set1_epi8(0x30);
    for (int h = 0; h < 2; h++) {
      const __m512i ql = _mm512_loadu_si512(p + 64 * h), qh = both_halves(p + 128 + 32 * h);
      const __m512i high01 = _mm512_and_si512(_mm512_sllv_epi64(qh, halves(4, 2)), two);
      const __m512i high23 = _mm512_and_si512(_mm512_srlv_epi64(qh, halves(0, 2)), two);
      w[2 * h] = _mm512_or_si512(_mm512_and_si512(ql, low), high01);
      w[2 * h + 1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(ql, 4), low), high23);
    }
  }
};

struct UnpackQ2_K {
  static constexpr int kBlockBytes = 84, kScaleAt = 80;
  static constexpr bool kMin = true, kWide = false;
  __m512i s[2], w[4];
  __m256i fix;
  explicit UnpackQ2_K(const uint8_t* p) {
    const __m128i both = load128(p), low = _mm_set1_epi8(15), scales = _mm_and_si128(both, low);
    s[0] = pack_unsigned<0, 1>(scales);
    s[1] = pack_unsigned<1, 1>(scales);
    fix = _mm256_cvtepu8_epi16(_mm_and_si128(_mm_srli_epi16(both, 4), low));
    for (int k = 0; k < 4; k++) w[k] = two_bits(p + 16, k);
  }
};

struct UnpackQ3_K {
  static constexpr int kBlockBytes = 110, kScaleAt = 108;
  static constexpr bool kMin = false, kWide = false;
  __m512i s[2], w[4];
  __m256i fix;
  explicit UnpackQ3_K(const uint8_t* p) {
    // Groups 4i..4i+3 are dword i: a nibble of dwords 0 and 1 of the 12 bytes, two bits of dword 2.
    const __m128i ab = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 96));
    const __m128i c = _mm_set1_epi32(static_cast<int>(load32(p + 104)));
    const __m128i low = _mm_and_si128(_mm_srlv_epi32(_mm_unpacklo_epi64(ab, ab), _mm_setr_epi32(0, 0, 4, 4)),
                                      _mm_set1_epi8(15));
    const __m128i high = _mm_and_si128(_mm_srlv_epi32(c, _mm_setr_epi32(0, 2, 4, 6)), _mm_set1_epi8(3));
    const __m256i scales = _mm256_cvtepi8_epi16(
        _mm_sub_epi8(_mm_or_si128(low, _mm_slli_epi16(high, 4)), _mm_set1_epi8(32)));
    for (int h = 0; h < 2; h++) s[h] = pack_order(scales, h);
    fix = _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_slli_epi16(scales, 2));
    const __m512i hmask = both_halves(p);
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) w[k] = add_bits(two_bits(p + 32, k), hmask, k, 4);
  }
};

struct UnpackIQ4_XS {
  static constexpr int kBlockBytes = 136, kScaleAt = 0;
  static constexpr bool kMin = false, kWide = true;
  __m512i s[4], w[4];
  __m256i fix;
  explicit UnpackIQ4_XS(const uint8_t* p) {
    const __m256i low = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(load32(p + 4))),
                                          _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
    const __m256i high = _mm256_srlv_epi32(_mm256_set1_epi32(load16(p + 2)),
                                           _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
    const __m256i six = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                                        _mm256_slli_epi32(_mm256_and_si256(high, _mm256_set1_epi32(3)), 4));
    const __m256i scales = _mm256_sub_epi32(six, _mm256_set1_epi32(32));  // 8 groups of 32 values
    const __m512i half = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    for (int k = 0; k < 4; k++) {
      s[k] = _mm512_permutexvar_epi32(_mm512_add_epi32(half, _mm512_set1_epi32(2 * k)), _mm512_castsi256_si512(scales));
    }
    const __m256i halfwords = _mm256_and_si256(scales, _mm256_set1_epi32(0xffff));
    const __m256i twice = _mm256_or_si256(halfwords, _mm256_slli_epi32(halfwords, 16));
    fix = _mm256_sub_epi16(_mm256_setzero_si256(), _mm256_slli_epi16(twice, 7));
    const __m512i codes = _mm512_broadcast_i32x4(_mm_xor_si128(load128(kValuesIQ4NL), _mm_set1_epi8(-128)));
    for (int k = 0; k < 4; k++) {
      const __m512i pairs = _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 1, 0, 1, 2, 3, 2, 3),
                                                     _mm512_castsi256_si512(load256(p + 8 + 32 * k)));
      const __m512i nibble = _mm512_srlv_epi64(pairs, _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4));
      w[k] = _mm512_shuffle_epi8(codes, _mm512_and_si512(nibble, _mm512_set1_epi8(15)));
    }
  }
};

}  // namespace

void fill_avx512_matvec_k(Kernels* k) {
#define HW_KERNEL(T) set_matvec(k, T, MatvecK<Kind, Unpack##T>::run);
  HW_MATVEC_K(HW_KERNEL)
}

}  // namespace hw
