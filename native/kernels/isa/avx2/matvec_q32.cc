// Blocks of 32 values on AVX2, 8 blocks at a time as four pairs (k, k + 4).
// A pair becomes two registers of bytes, x = values 0..15 of its two blocks and y = values 16..31, so that after the
// multiply-adds each 128-bit lane holds four partial sums of one block, and the transpose leaves the blocks in order.
//
// VPMADDUBSW saturates at 16 bits. Unsigned weights up to 31 give at most 2 * 31 * 127 a pair and x + y twice that,
// which fits. Signed bytes (Q8_0, IQ4_NL) go in as |w| and sign(a, w): at most 2 * 128 * 127 = 32512, so x and y are
// widened before they are added. Activations are never -128.
#include <immintrin.h>

#include "../../blocks.h"
#include "../../body/lanes_x86.inl"
#include "../../body/matvec_q32.inl"

namespace hw {
namespace {

inline __m128i load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

struct Avx2 : LanesX86 {
  static constexpr int kChunk = 8;
  static constexpr int kHalfDistance = 32;
  typedef __m256 Floats;

  // Where the first 16 activations of block b go: chunk, pair b % 4, lane b / 4 of the pair.
  static int64_t half_at(int32_t b) { return static_cast<int64_t>(b / 8) * 256 + (b % 4) * 64 + (b / 4 % 2) * 16; }
  static void copy16(const int8_t* from, int8_t* to) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), load128(from));
  }
  static void zero16(int8_t* to) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_setzero_si128()); }
  static __m256 load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, __m256 v) { _mm256_storeu_ps(p, v); }
  static __m256 mul(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
};

struct Chunk256 {
  __m256i x[4], y[4];
  __m256 d, m;
};

template <int kBytes>
inline __m256i load_pair(const uint8_t* p, int k) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load128(p + k * kBytes)), load128(p + (k + 4) * kBytes), 1);
}

inline uint16_t load16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }

inline int32_t load32(const uint8_t* p) {
  int32_t v;
  __builtin_memcpy(&v, p, 4);
  return v;
}

template <int kBytes>
inline __m256 load_halves(const uint8_t* p) {
  __m128i h = _mm_cvtsi32_si128(load16(p));
  h = _mm_insert_epi16(h, load16(p + kBytes), 1);
  h = _mm_insert_epi16(h, load16(p + 2 * kBytes), 2);
  h = _mm_insert_epi16(h, load16(p + 3 * kBytes), 3);
  h = _mm_insert_epi16(h, load16(p + 4 * kBytes), 4);
  h = _mm_insert_epi16(h, load16(p + 5 * kBytes), 5);
  h = _mm_insert_epi16(h, load16(p + 6 * kBytes), 6);
  h = _mm_insert_epi16(h, load16(p + 7 * kBytes), 7);
  return _mm256_cvtph_ps(h);
}

// One dword of each of four blocks.
template <int kBytes>
inline __m128i load_dwords(const uint8_t* p) {
  __m128i v = _mm_cvtsi32_si128(load32(p));
  v = _mm_insert_epi32(v, load32(p + kBytes), 1);
  v = _mm_insert_epi32(v, load32(p + 2 * kBytes), 2);
  return _mm_insert_epi32(v, load32(p + 3 * kBytes), 3);
}

inline __m256i signed_products(__m256i w, __m256i a) {
  const __m256i ones = _mm256_set1_epi16(1);
  return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w)), ones);
}

// Eight block sums in order: a 4 x 4 transpose-and-add in each lane. (VPHADDD does the same in twice the time.)
inline __m256i block_sums(const __m256i* s) {
  const __m256i p01 = _mm256_add_epi32(_mm256_unpacklo_epi32(s[0], s[1]), _mm256_unpackhi_epi32(s[0], s[1]));
  const __m256i p23 = _mm256_add_epi32(_mm256_unpacklo_epi32(s[2], s[3]), _mm256_unpackhi_epi32(s[2], s[3]));
  return _mm256_add_epi32(_mm256_unpacklo_epi64(p01, p23), _mm256_unpackhi_epi64(p01, p23));
}

inline __m256 dot_chunk(const Chunk256& u, const int8_t* q, const int32_t* fix, bool is_signed, bool offset) {
  __m256i s[4];
  for (int k = 0; k < 4; k++) {
    const __m256i ax = load256(q + 64 * k), ay = load256(q + 64 * k + 32);
    if (is_signed) {
      s[k] = _mm256_add_epi32(signed_products(u.x[k], ax), signed_products(u.y[k], ay));
    } else {
      const __m256i sum = _mm256_add_epi16(_mm256_maddubs_epi16(u.x[k], ax), _mm256_maddubs_epi16(u.y[k], ay));
      s[k] = _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
    }
  }
  __m256i sum = block_sums(s);
  if (offset) sum = _mm256_add_epi32(sum, load256(fix));
  return _mm256_cvtepi32_ps(sum);
}

enum class Book { kNone, kIQ4NL, kMXFP4 };

template <int kBytes, int kHigh, int kAt, bool kHasMin, int kShift, Book kBook>
struct Nibbles {
  typedef Avx2 Isa;
  typedef Chunk256 Chunk;
  static constexpr int kBlockBytes = kBytes;
  static constexpr bool kMin = kHasMin;
  static constexpr int kOffset = kShift;

  static __m256i value(__m256i nibble) {
    if (kBook == Book::kNone) return nibble;
    const int8_t* codes = kBook == Book::kIQ4NL ? kValuesIQ4NL : kValuesMXFP4;
    const __m128i table = _mm_add_epi8(load128(codes), _mm_set1_epi8(static_cast<char>(kShift)));
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(table), nibble);
  }

  // Bit i of the 16 bits at byte `at` of each lane's dword k, as 16 in byte i.
  static __m256i high_bits(__m256i words, int k, int at) {
    const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201ull));
    const char b = static_cast<char>(4 * k + at);
    const __m128i index = _mm_unpacklo_epi64(_mm_set1_epi8(b), _mm_set1_epi8(static_cast<char>(b + 1)));
    const __m256i spread = _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(index));
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit), _mm256_set1_epi8(16));
  }

  static void unpack_scales(const uint8_t* p, Chunk256& u) {
    if (kBook == Book::kMXFP4) {
      uint64_t bytes = 0;
      for (int i = 7; i >= 0; i--) bytes = bytes << 8 | p[i * kBytes];
      const __m256i e = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(bytes)));
      // 2^(e - 128): the exponent field is e - 1, and 0 and 1 are the subnormals 2^-128 and 2^-127.
      const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
      const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x200000), e);
      const __m256i is_tiny = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
      u.d = _mm256_castsi256_ps(_mm256_blendv_epi8(normal, tiny, is_tiny));
    } else if (kMin) {
      const __m128i low = load_dwords<kBytes>(p), high = load_dwords<kBytes>(p + 4 * kBytes);
      const __m128i mask = _mm_set1_epi32(0xffff);
      u.d = _mm256_cvtph_ps(_mm_packus_epi32(_mm_and_si128(low, mask), _mm_and_si128(high, mask)));
      u.m = _mm256_cvtph_ps(_mm_packus_epi32(_mm_srli_epi32(low, 16), _mm_srli_epi32(high, 16)));
    } else {
      u.d = load_halves<kBytes>(p);
    }
  }

  static void unpack(const uint8_t* p, Chunk256& u) {
    const __m256i low = _mm256_set1_epi8(15);
    __m256i high = low;
    if (kHigh) {
      high = _mm256_inserti128_si256(_mm256_castsi128_si256(load_dwords<kBytes>(p + kHigh)),
                                     load_dwords<kBytes>(p + kHigh + 4 * kBytes), 1);
    }
    for (int k = 0; k < 4; k++) {
      const __m256i qs = load_pair<kBytes>(p + kAt, k);
      u.x[k] = value(_mm256_and_si256(qs, low));
      u.y[k] = value(_mm256_and_si256(_mm256_srli_epi16(qs, 4), low));
      if (kHigh) {
        u.x[k] = _mm256_or_si256(u.x[k], high_bits(high, k, 0));
        u.y[k] = _mm256_or_si256(u.y[k], high_bits(high, k, 2));
      }
    }
    unpack_scales(p, u);
  }

  static __m256 dot(const Chunk256& u, const int8_t* q, const int32_t* fix) {
    return dot_chunk(u, q, fix, kBook == Book::kIQ4NL, kShift != 0);
  }
};

struct KindQ8_0 {
  typedef Avx2 Isa;
  typedef Chunk256 Chunk;
  static constexpr int kBlockBytes = 34;
  static constexpr bool kMin = false;
  static constexpr int kOffset = 0;

  static void unpack(const uint8_t* p, Chunk256& u) {
    for (int k = 0; k < 4; k++) {
      u.x[k] = load_pair<34>(p + 2, k);
      u.y[k] = load_pair<34>(p + 18, k);
    }
    u.d = load_halves<34>(p);
  }

  static __m256 dot(const Chunk256& u, const int8_t* q, const int32_t* fix) {
    return dot_chunk(u, q, fix, true, false);
  }
};

typedef Nibbles<18, 0, 2, false, 8, Book::kNone> KindQ4_0;
typedef Nibbles<20, 0, 4, true, 0, Book::kNone> KindQ4_1;
typedef Nibbles<22, 2, 6, false, 16, Book::kNone> KindQ5_0;
typedef Nibbles<24, 4, 8, true, 0, Book::kNone> KindQ5_1;
typedef Nibbles<18, 0, 2, false, 0, Book::kIQ4NL> KindIQ4_NL;
typedef Nibbles<17, 0, 1, false, 12, Book::kMXFP4> KindMXFP4;

inline __m256i two_lanes(__m128i low, __m128i high) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

// 64 values in 18 bytes, four neighbours in a byte.
struct KindQ2_0 {
  typedef Avx2 Isa;
  typedef Chunk256 Chunk;
  static constexpr int kBlockBytes = 18, kParts = 2, kOffset = 1;
  static constexpr bool kMin = false, kTwo = false;
  static __m128i eight(const uint8_t* p, int b) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + b / 2 * 18 + 2 + b % 2 * 8));
  }

  static void unpack(const uint8_t* p, Chunk256& u) {
    const __m256i three = _mm256_set1_epi8(3);
    for (int k = 0; k < 4; k++) {
      const __m256i v = two_lanes(eight(p, k), eight(p, k + 4));
      const __m256i a =
          _mm256_unpacklo_epi8(_mm256_and_si256(v, three), _mm256_and_si256(_mm256_srli_epi16(v, 2), three));
      const __m256i b = _mm256_unpacklo_epi8(_mm256_and_si256(_mm256_srli_epi16(v, 4), three),
                                             _mm256_and_si256(_mm256_srli_epi16(v, 6), three));
      u.x[k] = _mm256_unpacklo_epi16(a, b);
      u.y[k] = _mm256_unpackhi_epi16(a, b);
    }
    const __m128i d =
        _mm_setr_epi16(static_cast<int16_t>(load16(p)), static_cast<int16_t>(load16(p + 18)),
                       static_cast<int16_t>(load16(p + 36)), static_cast<int16_t>(load16(p + 54)), 0, 0, 0, 0);
    u.d = _mm256_cvtph_ps(_mm_unpacklo_epi16(d, d));
  }
  static __m256 dot(const Chunk256& u, const int8_t* q, const int32_t* fix) {
    return dot_chunk(u, q, fix, false, true);
  }
};

// 128 values in 18 bytes. A set bit counts 2, from which 1 is taken.
struct KindQ1_0 {
  typedef Avx2 Isa;
  typedef Chunk256 Chunk;
  static constexpr int kBlockBytes = 18, kParts = 4, kOffset = 1;
  static constexpr bool kMin = false, kTwo = false;

  // The 16 bits at byte `at` of each lane, as 2 in a byte for each.
  static __m256i bits(__m256i v, int at) {
    const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201ull));
    const __m128i index =
        _mm_unpacklo_epi64(_mm_set1_epi8(static_cast<char>(at)), _mm_set1_epi8(static_cast<char>(at + 1)));
    const __m256i spread = _mm256_and_si256(_mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(index)), bit);
    return _mm256_and_si256(_mm256_cmpeq_epi8(spread, bit), _mm256_set1_epi8(2));
  }

  static void unpack(const uint8_t* p, Chunk256& u) {
    const __m256i v = two_lanes(load128(p + 2), load128(p + 20));
    for (int k = 0; k < 4; k++) {
      u.x[k] = bits(v, 4 * k);
      u.y[k] = bits(v, 4 * k + 2);
    }
    const __m128i low = _mm_set1_epi16(static_cast<int16_t>(load16(p))),
                  high = _mm_set1_epi16(static_cast<int16_t>(load16(p + 18)));
    u.d = _mm256_cvtph_ps(_mm_unpacklo_epi64(low, high));
  }
  static __m256 dot(const Chunk256& u, const int8_t* q, const int32_t* fix) {
    return dot_chunk(u, q, fix, false, true);
  }
};

// 64 values in 36 bytes, a scale for 16 values.
struct KindNVFP4 {
  typedef Avx2 Isa;
  typedef Chunk256 Chunk;
  static constexpr int kBlockBytes = 36, kParts = 2, kOffset = 0;
  static constexpr bool kMin = false, kTwo = true;

  // Half of an unsigned E4M3 number: a shift of a normal one's bits.
  static __m256 scales(const uint8_t* p, int half) {
    uint64_t bytes = 0;
    for (int b = 7; b >= 0; b--) bytes = bytes << 8 | p[b / 2 * 36 + b % 2 * 2 + half];
    const __m256i code =
        _mm256_and_si256(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(bytes))), _mm256_set1_epi32(127));
    const __m256i normal = _mm256_add_epi32(_mm256_slli_epi32(code, 20), _mm256_set1_epi32(119 << 23));
    const __m256 tiny = _mm256_mul_ps(_mm256_cvtepi32_ps(code), _mm256_set1_ps(0x1p-10f));
    const __m256i any =
        _mm256_blendv_epi8(normal, _mm256_castps_si256(tiny), _mm256_cmpgt_epi32(_mm256_set1_epi32(8), code));
    return _mm256_castsi256_ps(_mm256_andnot_si256(_mm256_cmpeq_epi32(code, _mm256_set1_epi32(127)), any));
  }

  static void unpack(const uint8_t* p, Chunk256& u) {
    const __m256i low = _mm256_set1_epi8(15), table = _mm256_broadcastsi128_si256(load128(kValuesMXFP4));
    const auto at = [p](int b) { return load128(p + b / 2 * 36 + 4 + b % 2 * 16); };
    for (int k = 0; k < 4; k++) {
      const __m256i v = two_lanes(at(k), at(k + 4));
      const __m256i a = _mm256_and_si256(v, low), b = _mm256_and_si256(_mm256_srli_epi16(v, 4), low);
      u.x[k] = _mm256_shuffle_epi8(table, _mm256_unpacklo_epi64(a, b));
      u.y[k] = _mm256_shuffle_epi8(table, _mm256_unpackhi_epi64(a, b));
    }
    u.d = scales(p, 0);
    u.m = scales(p, 1);
  }

  static void dot_two(const Chunk256& u, const int8_t* q, __m256* isum) {
    __m256i s[4], t[4];
    for (int k = 0; k < 4; k++) {
      s[k] = signed_products(u.x[k], load256(q + 64 * k));
      t[k] = signed_products(u.y[k], load256(q + 64 * k + 32));
    }
    isum[0] = _mm256_cvtepi32_ps(block_sums(s));
    isum[1] = _mm256_cvtepi32_ps(block_sums(t));
  }
};

}  // namespace

void fill_avx2_matvec_q32(Kernels* k) {
#define HW_KERNEL(T) set_matvec(k, T, MatvecQ32<Kind##T>::run);
  HW_MATVEC_Q32(HW_KERNEL)
  HW_MATVEC_Q32_SMALL(HW_KERNEL)
}

}  // namespace hw
