// Blocks of 256 values with code books, and the ternary ones, on AVX2. Entries are loaded one by one as magnitudes
// (gathers are slow on the CPUs that have no AVX-512), VPSIGNB turns the activations around, VPMADDUBSW and VPMADDWD
// multiply as in matvec_k.cc. IQ1 has no signs: small unsigned numbers whose offset is taken off through the activation
// sums.
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

inline __m256i four(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
  return _mm256_set_epi64x(static_cast<long long>(d), static_cast<long long>(c), static_cast<long long>(b),
                           static_cast<long long>(a));
}
inline uint64_t pair(const uint32_t* book, uint32_t a, uint32_t b) {
  return book[a] | static_cast<uint64_t>(book[b]) << 32;
}

// -1 or 1 in 32 bytes, by the bits of a word.
inline __m256i plus_or_minus(uint32_t signs) {
  const __m256i spread = _mm256_setr_epi64x(0, 0x0101010101010101ll, 0x0202020202020202ll, 0x0303030303030303ll);
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ull));
  const __m256i bits = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(signs)), spread), bit);
  return _mm256_or_si256(_mm256_cmpeq_epi8(bits, bit), _mm256_set1_epi8(1));
}

// Four bytes of signs a group: eight words of four times 7 bits with the eighth that makes the minus signs even.
struct SignWords {
  alignas(32) uint32_t word[8];
  void set(__m256i w) {
    const auto field = [w](int shift, int mask) {
      return _mm256_and_si256(_mm256_slli_epi32(w, shift), _mm256_set1_epi32(mask));
    };
    complete(_mm256_or_si256(_mm256_or_si256(field(0, 0x7f), field(1, 0x7f00)),
                             _mm256_or_si256(field(2, 0x7f0000), field(3, 0x7f000000))));
  }
  // Bytes of 7 signs.
  void complete(__m256i seven) {
    const __m256i parity = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
    const __m256i folded = _mm256_and_si256(_mm256_xor_si256(seven, _mm256_srli_epi16(seven, 4)), _mm256_set1_epi8(15));
    _mm256_store_si256(reinterpret_cast<__m256i*>(word), _mm256_or_si256(seven, _mm256_shuffle_epi8(parity, folded)));
  }
};

// 16-bit scales 2 s + 1: of groups of 32 values from eight words, of groups of 16 from eight bytes of nibbles.
inline __m256i odd_scales(__m256i s) { return _mm256_add_epi16(_mm256_add_epi16(s, s), _mm256_set1_epi16(1)); }
inline __m256i wide_scales(__m128i words) { return odd_scales(_mm256_broadcastsi128_si256(words)); }
inline __m256i wide_scales(__m256i dwords) {
  return wide_scales(_mm_packus_epi32(_mm256_castsi256_si128(dwords), _mm256_extracti128_si256(dwords, 1)));
}
inline __m128i nibbles(__m128i bytes) {
  const __m128i low = _mm_set1_epi8(15);
  return _mm_unpacklo_epi8(_mm_and_si128(bytes, low), _mm_and_si128(_mm_srli_epi16(bytes, 4), low));
}
inline __m256i nibble_scales(const uint8_t* p) {
  return even_odd(odd_scales(_mm256_cvtepu8_epi16(nibbles(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))));
}

template <int kBytes, int kEighths>
struct Book {
  static constexpr int kBlockBytes = kBytes, kScaleAt = 0;
  static constexpr float kUnit = kEighths / 8.0f;
  static constexpr bool kMin = false;
  static uint16_t half(const uint8_t* p) { return load16(p); }
  const uint8_t* p;
  __m256i scales;
};

struct UnpackIQ2_XXS : Book<66, 1> {
  SignWords words;
  explicit UnpackIQ2_XXS(const uint8_t* block) : Book{block, {}} {
    const __m256i order = _mm256_setr_epi32(1, 3, 5, 7, 0, 2, 4, 6);
    const __m256i a = _mm256_permutevar8x32_epi32(load256(p + 2), order),
                  b = _mm256_permutevar8x32_epi32(load256(p + 34), order);
    const __m256i w = _mm256_permute2x128_si256(a, b, 0x20);
    words.set(w);
    scales = wide_scales(_mm256_srli_epi32(w, 28));
  }
  __m256i group(int g) const {
    const uint32_t i = load32(p + 2 + 8 * g);
    const uint64_t* e = kGridIQ2_XXS.entry;
    return four(e[i & 255], e[i >> 8 & 255], e[i >> 16 & 255], e[i >> 24]);
  }
  uint32_t signs(int g) const { return words.word[g]; }
};

struct UnpackIQ2_XS : Book<74, 1> {
  SignWords words;
  explicit UnpackIQ2_XS(const uint8_t* block) : Book{block, {}} {
    const __m256i a = _mm256_srli_epi16(load256(p + 2), 9), b = _mm256_srli_epi16(load256(p + 34), 9);
    words.complete(_mm256_permute4x64_epi64(_mm256_packus_epi16(a, b), 0xd8));
    scales = nibble_scales(p + 66);
  }
  __m256i group(int g) const {
    const uint64_t i = load64(p + 2 + 8 * g);
    const uint64_t* e = kGridIQ2_XS.entry;
    return four(e[i & 511], e[i >> 16 & 511], e[i >> 32 & 511], e[i >> 48 & 511]);
  }
  uint32_t signs(int g) const { return words.word[g]; }
};

struct UnpackIQ2_S : Book<82, 1> {
  explicit UnpackIQ2_S(const uint8_t* block) : Book{block, nibble_scales(block + 74)} {}
  __m256i group(int g) const {
    const uint32_t i = load32(p + 2 + 4 * g), h = p[66 + g];
    const uint64_t* e = kGridIQ2_S.entry;
    return four(e[(i & 255) | (h << 8 & 768)], e[(i >> 8 & 255) | (h << 6 & 768)], e[(i >> 16 & 255) | (h << 4 & 768)],
                e[i >> 24 | (h << 2 & 768)]);
  }
  uint32_t signs(int g) const { return load32(p + 34 + 4 * g); }
};

struct UnpackIQ3_XXS : Book<98, 2> {
  SignWords words;
  explicit UnpackIQ3_XXS(const uint8_t* block) : Book{block, {}} {
    const __m256i w = load256(p + 66);
    words.set(w);
    scales = wide_scales(_mm256_srli_epi32(w, 28));
  }
  __m256i group(int g) const {
    const uint64_t i = load64(p + 2 + 8 * g);
    const uint32_t* e = kGridIQ3_XXS.entry;
    return four(pair(e, i & 255, i >> 8 & 255), pair(e, i >> 16 & 255, i >> 24 & 255),
                pair(e, i >> 32 & 255, i >> 40 & 255), pair(e, i >> 48 & 255, static_cast<uint32_t>(i >> 56)));
  }
  uint32_t signs(int g) const { return words.word[g]; }
};

struct UnpackIQ3_S : Book<110, 8> {
  explicit UnpackIQ3_S(const uint8_t* block)
      : Book{block, wide_scales(_mm_cvtepu8_epi16(nibbles(_mm_cvtsi32_si128(static_cast<int>(load32(block + 106))))))} {
  }
  __m256i group(int g) const {
    const uint64_t i = load64(p + 2 + 8 * g);
    const uint32_t h = p[66 + g];
    const uint32_t* e = kGridIQ3_S.entry;
    const auto at = [i, h](int v) { return static_cast<uint32_t>(i >> (8 * v) & 255) | (h << (8 - v) & 256); };
    return four(pair(e, at(0), at(1)), pair(e, at(2), at(3)), pair(e, at(4), at(5)), pair(e, at(6), at(7)));
  }
  uint32_t signs(int g) const { return load32(p + 74 + 4 * g); }
};

// w = entry + 1, and 8 (w - 1) +- 1 times the scale: 8 times the scale for w, the rest through the sums.
struct UnpackIQ1_S {
  static constexpr int kBlockBytes = 50, kScaleAt = 0;
  static constexpr float kUnit = 0.125f;
  static constexpr bool kMin = false;
  static uint16_t half(const uint8_t* p) { return load16(p); }
  const uint8_t* p;
  __m256i scales, fix;
  explicit UnpackIQ1_S(const uint8_t* block) : p(block) {
    const __m128i words = load128(p + 34);
    const __m128i three = _mm_and_si128(_mm_srli_epi16(words, 12), _mm_set1_epi16(7));
    const __m128i odd = _mm_add_epi16(_mm_add_epi16(three, three), _mm_set1_epi16(1));
    const __m128i offset = _mm_sub_epi16(_mm_set1_epi16(-7), _mm_slli_epi16(_mm_srli_epi16(words, 15), 1));
    const __m128i off = _mm_mullo_epi16(odd, offset);
    fix = _mm256_set_m128i(_mm_unpackhi_epi16(off, off), _mm_unpacklo_epi16(off, off));
    scales = _mm256_broadcastsi128_si256(_mm_slli_epi16(odd, 3));
  }
  __m256i group(int g) const {
    const uint32_t i = load32(p + 2 + 4 * g), h = load16(p + 34 + 2 * g);
    const uint64_t* e = kGridIQ1.entry;
    return four(e[(i & 255) | (h << 8 & 0x700)], e[(i >> 8 & 255) | (h << 5 & 0x700)],
                e[(i >> 16 & 255) | (h << 2 & 0x700)], e[i >> 24 | (h >> 1 & 0x700)]);
  }
};

// The sign of the eighth changes within a scale: w = 8 (entry + 1) + 1 +- 1, offset 9.
struct UnpackIQ1_M {
  static constexpr int kBlockBytes = 56, kScaleAt = -1;
  static constexpr float kUnit = 0.125f;
  static constexpr bool kMin = false;
  static uint16_t half(const uint8_t* p) {
    const uint64_t w = load64(p + 48);
    return static_cast<uint16_t>((w >> 12 & 15) | (w >> 24 & 0xf0) | (w >> 36 & 0xf00) | (w >> 48 & 0xf000));
  }
  const uint8_t* p;
  __m256i scales, fix;
  explicit UnpackIQ1_M(const uint8_t* block) : p(block) {
    // Word i of four has scales 4 i .. 4 i + 3, three bits each: moved to the top by a multiplication.
    const __m128i words = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 48));
    const __m128i twice = _mm_unpacklo_epi16(words, words);
    const __m256i each = _mm256_set_m128i(_mm_unpackhi_epi32(twice, twice), _mm_unpacklo_epi32(twice, twice));
    const __m256i top = _mm256_mullo_epi16(each, _mm256_set1_epi64x(0x0010008004002000ll));
    const __m256i natural = odd_scales(_mm256_srli_epi16(top, 13));
    scales = even_odd(natural);
    fix = _mm256_mullo_epi16(natural, _mm256_set1_epi16(-9));
  }
  __m256i group(int g) const {
    const uint32_t i = load32(p + 4 * g), h = load16(p + 32 + 2 * g);
    const uint64_t* e = kGridIQ1.entry;
    const __m256i eight = _mm256_slli_epi16(four(e[(i & 255) | (h << 8 & 0x700)], e[(i >> 8 & 255) | (h << 4 & 0x700)],
                                                 e[(i >> 16 & 255) | (h & 0x700)], e[i >> 24 | (h >> 4 & 0x700)]), 3);
    const __m256i bits = _mm256_and_si256(_mm256_set1_epi64x(h), _mm256_setr_epi64x(8, 128, 2048, 32768));
    const __m256i plus = _mm256_cmpeq_epi64(bits, _mm256_setzero_si256());
    return _mm256_or_si256(eight, _mm256_and_si256(plus, _mm256_set1_epi8(2)));
  }
};

struct UnpackTQ2_0 {
  static constexpr int kBlockBytes = 66, kScaleAt = 64;
  static constexpr bool kMin = false;
  const uint8_t* p;
  explicit UnpackTQ2_0(const uint8_t* block) : p(block) {}
  __m256i group(int g) const { return two_bits(p, g); }
};

struct UnpackTQ1_0 {
  static constexpr int kBlockBytes = 54, kScaleAt = 52;
  static constexpr bool kMin = false;
  const uint8_t* p;
  explicit UnpackTQ1_0(const uint8_t* block) : p(block) {}
  // The first digit to the base of 3 after multiplication with a power of 3 in each byte; `powers` in 16 bits are below
  // 256.
  static __m256i digit(__m256i bytes, __m256i powers) {
    const __m256i low = _mm256_and_si256(_mm256_mullo_epi16(bytes, powers), _mm256_set1_epi16(255));
    const __m256i high = _mm256_mullo_epi16(_mm256_andnot_si256(_mm256_set1_epi16(255), bytes), powers);
    const __m256i rest = _mm256_or_si256(low, high), one = _mm256_set1_epi8(1);
    const __m256i first = _mm256_min_epu8(_mm256_subs_epu8(rest, _mm256_set1_epi8(85)), one);
    return _mm256_add_epi8(first,
                           _mm256_min_epu8(_mm256_subs_epu8(rest, _mm256_set1_epi8(static_cast<char>(170))), one));
  }
  __m256i group(int g) const {
    static const int16_t kPowers[5] = {1, 3, 9, 27, 81};
    if (g < 5) return digit(load256(p), _mm256_set1_epi16(kPowers[g]));
    const __m128i second = load128(p + 32);
    if (g < 7) {
      const __m128i low = _mm_set1_epi16(g == 5 ? 1 : 9), high = _mm_set1_epi16(g == 5 ? 3 : 27);
      return digit(_mm256_broadcastsi128_si256(second), _mm256_set_m128i(high, low));
    }
    // The last 16 values: four bytes, and the power changes every four values.
    const __m256i bytes = _mm256_set_m128i(_mm_set1_epi32(static_cast<int>(load32(p + 48))), second);
    return digit(bytes, _mm256_setr_epi16(81, 81, 81, 81, 81, 81, 81, 81, 1, 1, 3, 3, 9, 9, 27, 27));
  }
};

// Magnitudes, signs and scales.
template <class Unpack>
struct KindSigned {
  template <int T>
  static inline void block(const uint8_t* p, const ActRow* acts, int32_t b, __m256i* isum, __m256i*) {
    const Unpack u(p);
    for (int t = 0; t < T; t++) isum[t] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
      const __m256i w = u.group(g), signs = plus_or_minus(u.signs(g)), s = spread(u.scales, g);
      for (int t = 0; t < T; t++) {
        const __m256i pairs = _mm256_maddubs_epi16(w, _mm256_sign_epi8(load256(acts[t].q + b * 256 + g * 32), signs));
        isum[t] = _mm256_add_epi32(isum[t], _mm256_madd_epi16(pairs, s));
      }
    }
  }
};

// Unsigned weights and what their offset adds.
template <class Unpack>
struct KindOffset {
  template <int T>
  static inline void block(const uint8_t* p, const ActRow* acts, int32_t b, __m256i* isum, __m256i*) {
    const Unpack u(p);
    for (int t = 0; t < T; t++) isum[t] = _mm256_madd_epi16(u.fix, load256(acts[t].sums + b * 16));
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
      const __m256i w = u.group(g), s = spread(u.scales, g);
      for (int t = 0; t < T; t++) {
        const __m256i pairs = _mm256_maddubs_epi16(w, load256(acts[t].q + b * 256 + g * 32));
        isum[t] = _mm256_add_epi32(isum[t], _mm256_madd_epi16(pairs, s));
      }
    }
  }
};

// One scale for the block, weights one less than w: 16-bit sums of all eight groups are at most 8 * 2 * 3 * 127.
template <class Unpack>
struct KindTernary {
  template <int T>
  static inline void block(const uint8_t* p, const ActRow* acts, int32_t b, __m256i* isum, __m256i*) {
    const Unpack u(p);
    __m256i sum[T];
    for (int t = 0; t < T; t++) sum[t] = _mm256_sub_epi16(_mm256_setzero_si256(), load256(acts[t].sums + b * 16));
#pragma GCC unroll 8
    for (int g = 0; g < 8; g++) {
      const __m256i w = u.group(g);
      for (int t = 0; t < T; t++)
        sum[t] = _mm256_add_epi16(sum[t], _mm256_maddubs_epi16(w, load256(acts[t].q + b * 256 + g * 32)));
    }
    for (int t = 0; t < T; t++) isum[t] = _mm256_madd_epi16(sum[t], _mm256_set1_epi16(1));
  }
};

}  // namespace

void fill_avx2_matvec_grid(Kernels* k) {
#define HW_KERNEL(T) set_matvec(k, T, MatvecK<KindSigned, Unpack##T>::run);
  HW_MATVEC_SIGNED(HW_KERNEL)
#undef HW_KERNEL
#define HW_KERNEL(T) set_matvec(k, T, MatvecK<KindOffset, Unpack##T>::run);
  HW_MATVEC_OFFSET(HW_KERNEL)
#undef HW_KERNEL
#define HW_KERNEL(T) set_matvec(k, T, MatvecK<KindTernary, Unpack##T>::run);
  HW_MATVEC_TERNARY(HW_KERNEL)
}

}  // namespace hw
