// Blocks of 256 values with code books, and the ternary ones, on AVX-512 VNNI. Entries are gathered as magnitudes; a
// minus sign turns the activation around, so nothing is to be taken off afterwards. The products of a quad are at most
// 4 * 62 * 127: sums pack into 16 bits as in matvec_k.cc. IQ1 has no signs but small numbers with an offset and goes
// that file's way.
#include <immintrin.h>

#include "../../codebooks.h"
#include "block256.inl"

namespace hw {
namespace {

inline uint64_t load64(const void* p) {
  uint64_t v;
  __builtin_memcpy(&v, p, 8);
  return v;
}

// Entries of 8 values by 8 indexes, of 4 values by 16.
inline __m512i entries(const uint64_t* book, __m256i index) {
  return _mm512_i32gather_epi64(index, reinterpret_cast<const long long*>(book), 8);
}
inline __m512i entries(const uint32_t* book, __m512i index) { return _mm512_i32gather_epi32(index, book, 4); }

inline __m256i eight_bytes(const uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

// Bytes of 8 (4 bits: 16) stored scales to 2 s + 1.
inline __m128i odd_scales(__m128i s) { return _mm_add_epi8(_mm_add_epi8(s, s), _mm_set1_epi8(1)); }
inline __m128i nibble_scales(__m128i bytes) {
  const __m128i low = _mm_set1_epi8(15);
  return odd_scales(_mm_unpacklo_epi8(_mm_and_si128(bytes, low), _mm_and_si128(_mm_srli_epi16(bytes, 4), low)));
}

// Four times 8 sign bytes to a bit for every value of the block.
struct Signs {
  __mmask64 minus[4];
  void set(__m256i bytes) {
    alignas(32) uint64_t words[4];
    _mm256_store_si256(reinterpret_cast<__m256i*>(words), bytes);
    for (int k = 0; k < 4; k++) minus[k] = words[k];
  }
  void load(const uint8_t* p) {
    for (int k = 0; k < 4; k++) minus[k] = load64(p + 8 * k);
  }
};

// The eighth sign of 32 bytes with seven; their highest bits may be anything.
inline __m256i even_signs(__m512i seven) {
  const __m512i low = _mm512_loadu_si512(kEvenSigns.entry), high = _mm512_loadu_si512(kEvenSigns.entry + 64);
  return _mm512_castsi512_si256(_mm512_permutex2var_epi8(low, seven, high));
}

template <int kBytes, int kEighths>
struct Magnitudes : Signs {
  static constexpr int kBlockBytes = kBytes, kScaleAt = 0;
  static constexpr float kUnit = kEighths / 8.0f;
  static constexpr bool kMin = false;
  static uint16_t half(const uint8_t* p) { return load16(p); }
  __m512i s[2], w[4];
  template <int groups>
  void scales(__m128i bytes) {
    s[0] = pack_unsigned<0, groups>(bytes);
    s[1] = pack_unsigned<1, groups>(bytes);
  }
};

struct UnpackIQ2_XXS : Magnitudes<66, 1> {
  explicit UnpackIQ2_XXS(const uint8_t* p) {
    // Every 64 bits: four index bytes, four times 7 signs, a scale of 4 bits.
    const __m512i qs = _mm512_loadu_si512(p + 2);
    const __m512i cut = _mm512_set1_epi64(0x352e272018100800ll);
    const __m512i order = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_multishift_epi64_epi8(cut, qs));
    const __m256i seven = _mm512_extracti64x4_epi64(bytes, 1);
    set(even_signs(_mm512_castsi256_si512(seven)));
    scales<2>(odd_scales(_mm512_cvtepi64_epi8(_mm512_srli_epi64(qs, 60))));
    const __m256i index = _mm512_castsi512_si256(bytes);
    const __m512i low = _mm512_cvtepu8_epi32(_mm256_castsi256_si128(index));
    const __m512i high = _mm512_cvtepu8_epi32(_mm256_extracti128_si256(index, 1));
    w[0] = entries(kGridIQ2_XXS.entry, _mm512_castsi512_si256(low));
    w[1] = entries(kGridIQ2_XXS.entry, _mm512_extracti64x4_epi64(low, 1));
    w[2] = entries(kGridIQ2_XXS.entry, _mm512_castsi512_si256(high));
    w[3] = entries(kGridIQ2_XXS.entry, _mm512_extracti64x4_epi64(high, 1));
  }
};

struct UnpackIQ2_XS : Magnitudes<74, 1> {
  explicit UnpackIQ2_XS(const uint8_t* p) {
    const __m512i qs = _mm512_loadu_si512(p + 2);
    set(even_signs(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(_mm512_srli_epi16(qs, 9)))));
    scales<1>(nibble_scales(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 66))));
    for (int k = 0; k < 4; k++) {
      const __m256i words = _mm256_cvtepu16_epi32(load128(p + 2 + 16 * k));
      w[k] = entries(kGridIQ2_XS.entry, _mm256_and_si256(words, _mm256_set1_epi32(511)));
    }
  }
};

struct UnpackIQ2_S : Magnitudes<82, 1> {
  explicit UnpackIQ2_S(const uint8_t* p) {
    load(p + 34);
    scales<1>(nibble_scales(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 74))));
    for (int k = 0; k < 4; k++) {
      const __m256i two =
          _mm256_srlv_epi32(_mm256_set1_epi32(load16(p + 66 + 2 * k)), _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14));
      const __m256i high = _mm256_slli_epi32(_mm256_and_si256(two, _mm256_set1_epi32(3)), 8);
      w[k] = entries(kGridIQ2_S.entry, _mm256_or_si256(eight_bytes(p + 2 + 8 * k), high));
    }
  }
};

struct UnpackIQ3_XXS : Magnitudes<98, 2> {
  explicit UnpackIQ3_XXS(const uint8_t* p) {
    const __m256i words = load256(p + 66);
    const __m256i cut = _mm256_set1_epi64x(0x352e2720150e0700ll);
    set(even_signs(_mm512_castsi256_si512(_mm256_multishift_epi64_epi8(cut, words))));
    scales<2>(odd_scales(_mm256_cvtepi32_epi8(_mm256_srli_epi32(words, 28))));
    for (int k = 0; k < 4; k++) w[k] = entries(kGridIQ3_XXS.entry, _mm512_cvtepu8_epi32(load128(p + 2 + 16 * k)));
  }
};

struct UnpackIQ3_S : Magnitudes<110, 8> {
  explicit UnpackIQ3_S(const uint8_t* p) {
    load(p + 74);
    scales<2>(nibble_scales(_mm_cvtsi32_si128(static_cast<int>(load32(p + 106)))));
    for (int k = 0; k < 4; k++) {
      const __m512i low = _mm512_cvtepu8_epi32(load128(p + 2 + 16 * k));
      const __mmask16 ninth = load16(p + 66 + 2 * k);
      w[k] = entries(kGridIQ3_S.entry, _mm512_mask_or_epi32(low, ninth, low, _mm512_set1_epi32(256)));
    }
  }
};

// w = entry + 1: 8 (w - 1) +- 1 times the scale 2 s + 1, so the scale of w is eight times that.
struct UnpackIQ1_S {
  static constexpr int kBlockBytes = 50, kScaleAt = 0;
  static constexpr float kUnit = 0.125f;
  static constexpr bool kMin = false, kWide = false;
  static uint16_t half(const uint8_t* p) { return load16(p); }
  __m512i s[2], w[4];
  __m256i fix;
  explicit UnpackIQ1_S(const uint8_t* p) {
    const __m128i words = load128(p + 34);
    const __m128i three = _mm_and_si128(_mm_srli_epi16(words, 12), _mm_set1_epi16(7));
    const __m128i odd = _mm_add_epi16(_mm_add_epi16(three, three), _mm_set1_epi16(1));
    const __m128i offset = _mm_sub_epi16(_mm_set1_epi16(-7), _mm_slli_epi16(_mm_srli_epi16(words, 15), 1));
    const __m128i off = _mm_mullo_epi16(odd, offset);
    fix = _mm256_set_m128i(_mm_unpackhi_epi16(off, off), _mm_unpacklo_epi16(off, off));
    const __m128i bytes = _mm_packus_epi16(_mm_slli_epi16(odd, 3), _mm_setzero_si128());
    s[0] = pack_unsigned<0, 2>(bytes);
    s[1] = pack_unsigned<1, 2>(bytes);
    for (int k = 0; k < 4; k++) {
      const __m256i two = _mm256_set1_epi32(static_cast<int>(load32(p + 34 + 4 * k)));
      const __m256i high =
          _mm256_and_si256(_mm256_srlv_epi32(two, _mm256_setr_epi32(0, 3, 6, 9, 16, 19, 22, 25)), _mm256_set1_epi32(7));
      w[k] = entries(kGridIQ1.entry, _mm256_or_si256(eight_bytes(p + 2 + 8 * k), _mm256_slli_epi32(high, 8)));
    }
  }
};

// The sign of the eighth changes within a scale: w = 8 (entry + 1) + 1 +- 1, offset 9.
struct UnpackIQ1_M {
  static constexpr int kBlockBytes = 56, kScaleAt = -1;
  static constexpr float kUnit = 0.125f;
  static constexpr bool kMin = false, kWide = false;
  static uint16_t half(const uint8_t* p) {
    return static_cast<uint16_t>(_pext_u64(load64(p + 48), 0xf000f000f000f000ull));
  }
  __m512i s[2], w[4];
  __m256i fix;
  explicit UnpackIQ1_M(const uint8_t* p) {
    const __m128i words = _mm_set1_epi64x(static_cast<int64_t>(load64(p + 48)));
    const __m128i cut = _mm_set_epi64x(0x3936333029262320ll, 0x1916131009060300ll);
    const __m128i scales = odd_scales(_mm_and_si128(_mm_multishift_epi64_epi8(cut, words), _mm_set1_epi8(7)));
    s[0] = pack_unsigned<0, 1>(scales);
    s[1] = pack_unsigned<1, 1>(scales);
    fix = _mm256_mullo_epi16(_mm256_cvtepu8_epi16(scales), _mm256_set1_epi16(-9));
    for (int k = 0; k < 4; k++) {
      const __m256i nibbles = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int>(load32(p + 32 + 4 * k))),
                                                _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28));
      const __m256i high = _mm256_slli_epi32(_mm256_and_si256(nibbles, _mm256_set1_epi32(7)), 8);
      const __m512i eight =
          _mm512_slli_epi16(entries(kGridIQ1.entry, _mm256_or_si256(eight_bytes(p + 8 * k), high)), 3);
      const __mmask8 plus = _mm256_testn_epi32_mask(nibbles, _mm256_set1_epi32(8));
      w[k] = _mm512_mask_or_epi64(eight, plus, eight, _mm512_set1_epi8(2));
    }
  }
};

struct Ternary {
  static constexpr bool kMin = false;
  __m512i w[4];
};

struct UnpackTQ2_0 : Ternary {
  static constexpr int kBlockBytes = 66, kScaleAt = 64;
  explicit UnpackTQ2_0(const uint8_t* p) {
    for (int k = 0; k < 4; k++) w[k] = two_bits(p, k);
  }
};

// The first digit of a fraction of 256 to the base of 3, after multiplication with a power of 3 in each byte.
inline __m512i digit(__m512i bytes, __m512i powers) {
  const __m512i low = _mm512_mullo_epi16(bytes, powers);
  const __m512i high =
      _mm512_mullo_epi16(_mm512_andnot_si512(_mm512_set1_epi16(255), bytes), _mm512_srli_epi16(powers, 8));
  const __m512i rest = _mm512_mask_mov_epi8(low, 0xaaaaaaaaaaaaaaaaull, high);
  const __m512i one = _mm512_set1_epi8(1);
  const __m512i first = _mm512_maskz_mov_epi8(_mm512_cmpge_epu8_mask(rest, _mm512_set1_epi8(86)), one);
  return _mm512_mask_add_epi8(first, _mm512_cmpge_epu8_mask(rest, _mm512_set1_epi8(static_cast<char>(171))), first,
                              one);
}

// A power for each 16 bytes.
inline __m512i powers(int a, int b, int c, int d) {
  const int64_t each = 0x0101010101010101ll;
  return _mm512_setr_epi64(a * each, a * each, b * each, b * each, c * each, c * each, d * each, d * each);
}

struct UnpackTQ1_0 : Ternary {
  static constexpr int kBlockBytes = 54, kScaleAt = 52;
  explicit UnpackTQ1_0(const uint8_t* p) {
    const __m512i first = both_halves(p), second = _mm512_broadcast_i32x4(load128(p + 32));
    const __m512i last = _mm512_set1_epi32(static_cast<int>(load32(p + 48)));
    w[0] = digit(first, powers(1, 1, 3, 3));
    w[1] = digit(first, powers(9, 9, 27, 27));
    w[2] = digit(_mm512_mask_mov_epi64(first, 0xf0, second), powers(81, 81, 1, 3));
    // The last 16 values: four bytes, and the power changes every four values.
    const __m512i tail = _mm512_mask_mov_epi32(
        powers(9, 27, 81, 0), 0xf000,
        _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01010101, 0x03030303, 0x09090909, 0x1b1b1b1b));
    w[3] = digit(_mm512_mask_mov_epi64(second, 0xc0, last), tail);
  }
};

// Magnitudes, signs and scales.
template <class Unpack>
struct KindSigned {
  template <int T>
  static inline void block(const uint8_t* p, const ActRow* acts, int32_t b, __m256i* isum, __m256i*) {
    const Unpack u(p);
    const __m512i zero = _mm512_setzero_si512();
    for (int t = 0; t < T; t++) {
      __m512i dot[4];
      for (int k = 0; k < 4; k++) {
        const __m512i a = _mm512_loadu_si512(acts[t].q + b * 256 + 64 * k);
        dot[k] = _mm512_dpbusd_epi32(zero, u.w[k], _mm512_mask_sub_epi8(a, u.minus[k], zero, a));
      }
      __m512i sum = _mm512_dpwssd_epi32(zero, _mm512_packs_epi32(dot[0], dot[1]), u.s[0]);
      sum = _mm512_dpwssd_epi32(sum, _mm512_packs_epi32(dot[2], dot[3]), u.s[1]);
      isum[t] = _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
    }
  }
};

// One scale for the block, weights one less than w.
template <class Unpack>
struct KindTernary {
  template <int T>
  static inline void block(const uint8_t* p, const ActRow* acts, int32_t b, __m256i* isum, __m256i*) {
    const Unpack u(p);
    for (int t = 0; t < T; t++) {
      __m512i sum = _mm512_setzero_si512();
      for (int k = 0; k < 4; k++)
        sum = _mm512_dpbusd_epi32(sum, u.w[k], _mm512_loadu_si512(acts[t].q + b * 256 + 64 * k));
      const __m256i off = _mm256_madd_epi16(load256(acts[t].sums + b * 16), _mm256_set1_epi16(-1));
      isum[t] = _mm256_add_epi32(off, _mm256_add_epi32(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1)));
    }
  }
};

}  // namespace

void fill_avx512_matvec_grid(Kernels* k) {
#define HW_KERNEL(T) set_matvec(k, T, MatvecK<KindSigned, Unpack##T>::run);
  HW_MATVEC_SIGNED(HW_KERNEL)
#undef HW_KERNEL
#define HW_KERNEL(T) set_matvec(k, T, MatvecK<Kind, Unpack##T>::run);
  HW_MATVEC_OFFSET(HW_KERNEL)
#undef HW_KERNEL
#define HW_KERNEL(T) set_matvec(k, T, MatvecK<KindTernary, Unpack##T>::run);
  HW_MATVEC_TERNARY(HW_KERNEL)
}

}  // namespace hw
