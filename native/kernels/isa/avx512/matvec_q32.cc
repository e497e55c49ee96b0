// Blocks of 32 values on AVX-512 VNNI, 16 blocks at a time as four quads of neighbouring blocks.
// A quad becomes two registers of unsigned bytes, x = values 0..15 of its four blocks and y = values 16..31, so that
// after two VPDPBUSD every 128-bit lane holds four partial sums of one block. Signed types are shifted up by kOffset,
// and -kOffset * asum is added to the block sum afterwards, in integers, so exactly.
#include <immintrin.h>

#include "../../blocks.h"
#include "../../body/lanes_x86.inl"
#include "../../body/matvec_q32.inl"

namespace hw {
namespace {

struct Avx512 : LanesX86 {
  static constexpr int kChunk = 16;
  static constexpr int kHalfDistance = 64;
  typedef __m512 Floats;

  // Where the first 16 activations of block b go: quad by quad, 64 bytes of first halves, 64 of second halves.
  static int64_t half_at(int32_t b) { return static_cast<int64_t>(b / 4) * 128 + (b % 4) * 16; }
  static void copy16(const int8_t* from, int8_t* to) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  }
  static void zero16(int8_t* to) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_setzero_si128()); }
  static __m512 load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, __m512 v) { _mm512_storeu_ps(p, v); }
  static __m512 mul(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
};

struct Chunk512 {
  __m512i x[4], y[4];
  __m512 d, m;
};

struct alignas(64) ByteIndex {
  uint8_t i[64];
  __m512i vector() const { return _mm512_load_si512(i); }
};

// Two loads cover a quad: bytes [0, 64) and some from `second` on. Byte `at` of the quad as a VPERMI2B index.
constexpr uint8_t byte_index(int at, int second) { return static_cast<uint8_t>(at < 64 ? at : 64 + at - second); }

// Byte i of the result is byte `at + (i % 16) / per` of block i / 16.
constexpr ByteIndex spread(int block_bytes, int second, int at, int per) {
  ByteIndex r = {};
  for (int i = 0; i < 64; i++) r.i[i] = byte_index(i / 16 * block_bytes + at + i % 16 / per, second);
  return r;
}

// Dword 4 * k + i, for every k: the four bytes at the start of block i.
constexpr ByteIndex heads(int block_bytes, int second) {
  ByteIndex r = {};
  for (int i = 0; i < 64; i++) r.i[i] = byte_index(i / 4 % 4 * block_bytes + i % 4, second);
  return r;
}

struct Quad {
  __m512i a, b;
};

// The second load is as narrow as the quad allows: an unaligned 64-byte load always touches two cache lines.
template <int kBytes>
inline Quad load_quad(const uint8_t* p) {
  static_assert(4 * kBytes > 64 && 4 * kBytes <= 96, "what second_at covers");
  const __m512i a = _mm512_loadu_si512(p);
  if (4 * kBytes <= 80) {
    return {a, _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 4 * kBytes - 16)))};
  }
  return {a, _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 4 * kBytes - 32)))};
}

constexpr int second_at(int block_bytes) { return 4 * block_bytes - (4 * block_bytes <= 80 ? 16 : 32); }

inline __m512i permute(const Quad& q, const ByteIndex& index) {
  return _mm512_permutex2var_epi8(q.a, index.vector(), q.b);
}

// The heads of quad k in dwords 4k..4k+3, zeros elsewhere. `bytes` marks those of a dword that count.
inline __m512i quad_heads(const Quad& q, const ByteIndex& index, int k, uint64_t bytes) {
  return _mm512_maskz_permutex2var_epi8(bytes << (16 * k), q.a, index.vector(), q.b);
}

inline __m512 halves_to_floats(__m512i dwords) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(dwords)); }

// 16 block sums from the four quads' partial sums: a 4 x 4 transpose-and-add in each lane, then lanes to block order.
inline __m512i block_sums(const __m512i* s) {
  const __m512i p01 = _mm512_add_epi32(_mm512_unpacklo_epi32(s[0], s[1]), _mm512_unpackhi_epi32(s[0], s[1]));
  const __m512i p23 = _mm512_add_epi32(_mm512_unpacklo_epi32(s[2], s[3]), _mm512_unpackhi_epi32(s[2], s[3]));
  const __m512i sum = _mm512_add_epi32(_mm512_unpacklo_epi64(p01, p23), _mm512_unpackhi_epi64(p01, p23));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm512_permutexvar_epi32(order, sum);
}

inline __m512 dot_chunk(const Chunk512& u, const int8_t* q, const int32_t* fix, bool offset) {
  __m512i s[4];
  for (int k = 0; k < 4; k++) {
    const __m512i first = _mm512_dpbusd_epi32(_mm512_setzero_si512(), u.x[k], _mm512_loadu_si512(q + 128 * k));
    s[k] = _mm512_dpbusd_epi32(first, u.y[k], _mm512_loadu_si512(q + 128 * k + 64));
  }
  __m512i sum = block_sums(s);
  if (offset) sum = _mm512_add_epi32(sum, _mm512_loadu_si512(fix));
  return _mm512_cvtepi32_ps(sum);
}

enum class Book { kNone, kIQ4NL, kMXFP4 };

// The nibble types differ in size, where things lie, how a nibble becomes an unsigned byte, and the scale.
template <int kBytes, int kHigh, int kAt, bool kHasMin, int kShift, Book kBook, bool kExponent>
struct Nibbles {
  typedef Avx512 Isa;
  typedef Chunk512 Chunk;
  static constexpr int kBlockBytes = kBytes;
  static constexpr bool kMin = kHasMin;
  static constexpr int kOffset = kShift;
  static constexpr int kSecond = second_at(kBytes);
  static constexpr ByteIndex kNibbles = spread(kBytes, kSecond, kAt, 1);
  static constexpr ByteIndex kHeads = heads(kBytes, kSecond);
  static constexpr ByteIndex kHighX = spread(kBytes, kSecond, kHigh, 8);
  static constexpr ByteIndex kHighY = spread(kBytes, kSecond, kHigh + 2, 8);

  static __m512i value(__m512i nibble) {
    if (kBook == Book::kNone) return nibble;
    const int8_t* codes = kBook == Book::kIQ4NL ? kValuesIQ4NL : kValuesMXFP4;
    const __m128i table = _mm_add_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes)),
                                       _mm_set1_epi8(static_cast<char>(kShift)));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), nibble);
  }

  static void unpack(const uint8_t* p, Chunk512& u) {
    const __m512i low = _mm512_set1_epi8(15);
    const __m512i bit = _mm512_set1_epi64(static_cast<int64_t>(0x8040201008040201ull));
    const uint64_t head_bytes = kExponent ? 0x1111 : kMin ? 0xffff : 0x3333;
    __m512i head = _mm512_setzero_si512();
    for (int k = 0; k < 4; k++) {
      const Quad quad = load_quad<kBytes>(p + k * 4 * kBytes);
      const __m512i qs = permute(quad, kNibbles);
      u.x[k] = value(_mm512_and_si512(qs, low));
      u.y[k] = value(_mm512_and_si512(_mm512_srli_epi16(qs, 4), low));
      if (kHigh) {
        const __mmask64 hx = _mm512_test_epi8_mask(permute(quad, kHighX), bit);
        const __mmask64 hy = _mm512_test_epi8_mask(permute(quad, kHighY), bit);
        u.x[k] = _mm512_mask_add_epi8(u.x[k], hx, u.x[k], _mm512_set1_epi8(16));
        u.y[k] = _mm512_mask_add_epi8(u.y[k], hy, u.y[k], _mm512_set1_epi8(16));
      }
      head = _mm512_or_si512(head, quad_heads(quad, kHeads, k, head_bytes));
    }
    if (kExponent) {
      // 2^(e - 128): the exponent field is e - 1, and 0 and 1 are the subnormals 2^-128 and 2^-127.
      const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(head, _mm512_set1_epi32(1)), 23);
      const __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x200000), head);
      const __mmask16 is_tiny = _mm512_cmplt_epu32_mask(head, _mm512_set1_epi32(2));
      u.d = _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, is_tiny, tiny));
    } else {
      u.d = halves_to_floats(head);
    }
    if (kMin) u.m = halves_to_floats(_mm512_srli_epi32(head, 16));
  }

  static __m512 dot(const Chunk512& u, const int8_t* q, const int32_t* fix) {
    return dot_chunk(u, q, fix, kShift != 0);
  }
};

struct KindQ8_0 {
  typedef Avx512 Isa;
  typedef Chunk512 Chunk;
  static constexpr int kBlockBytes = 34;
  static constexpr bool kMin = false;
  static constexpr int kOffset = 128;
  static constexpr int kSecond = 68;
  static constexpr ByteIndex kHeads = heads(34, kSecond);

  static __m512i pair(const uint8_t* p) {
    const __m512i a = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 2)));
    return _mm512_inserti64x4(a, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 36)), 1);
  }

  static void unpack(const uint8_t* p, Chunk512& u) {
    const __m512i flip = _mm512_set1_epi8(-128);
    __m512i head = _mm512_setzero_si512();
    for (int k = 0; k < 4; k++) {
      const uint8_t* q = p + k * 136;
      const __m512i b01 = pair(q), b23 = pair(q + 68);
      u.x[k] = _mm512_xor_si512(_mm512_shuffle_i64x2(b01, b23, 0x88), flip);
      u.y[k] = _mm512_xor_si512(_mm512_shuffle_i64x2(b01, b23, 0xdd), flip);
      head = _mm512_or_si512(head,
                             quad_heads({_mm512_loadu_si512(q), _mm512_loadu_si512(q + kSecond)}, kHeads, k, 0x3333));
    }
    u.d = halves_to_floats(head);
  }

  static __m512 dot(const Chunk512& u, const int8_t* q, const int32_t* fix) { return dot_chunk(u, q, fix, true); }
};

typedef Nibbles<18, 0, 2, false, 8, Book::kNone, false> KindQ4_0;
typedef Nibbles<20, 0, 4, true, 0, Book::kNone, false> KindQ4_1;
typedef Nibbles<22, 2, 6, false, 16, Book::kNone, false> KindQ5_0;
typedef Nibbles<24, 4, 8, true, 0, Book::kNone, false> KindQ5_1;
typedef Nibbles<18, 0, 2, false, 128, Book::kIQ4NL, false> KindIQ4_NL;
typedef Nibbles<17, 0, 1, false, 12, Book::kMXFP4, true> KindMXFP4;

// Byte i of the result belongs to the 16 values of block i / 16 of a quad: `at(block)` and on, `each` bytes for 8
// values.
template <class At>
constexpr ByteIndex parts_index(At at, int each, int period) {
  ByteIndex r = {};
  for (int i = 0; i < 64; i++) r.i[i] = static_cast<uint8_t>(at(i / 16) + i % 16 / 8 * each + i % 8 % period);
  return r;
}

// 64 values in 18 bytes: a quad is two blocks.
struct KindQ2_0 {
  typedef Avx512 Isa;
  typedef Chunk512 Chunk;
  static constexpr int kBlockBytes = 18, kParts = 2, kOffset = 1;
  static constexpr bool kMin = false, kTwo = false;
  static constexpr ByteIndex kX = parts_index([](int b) constexpr { return b / 2 * 18 + 2 + b % 2 * 8; }, 2, 2);
  static constexpr ByteIndex kY = parts_index([](int b) constexpr { return b / 2 * 18 + 6 + b % 2 * 8; }, 2, 2);

  static void unpack(const uint8_t* p, Chunk512& u) {
    const __m512i cut = _mm512_set1_epi64(0x0e0c0a0806040200ll), three = _mm512_set1_epi8(3);
    alignas(32) uint16_t d[16];
    for (int k = 0; k < 4; k++) {
      const __m512i v = _mm512_maskz_loadu_epi8(0xfffffffffull, p + 36 * k);
      u.x[k] = _mm512_and_si512(_mm512_multishift_epi64_epi8(cut, _mm512_permutexvar_epi8(kX.vector(), v)), three);
      u.y[k] = _mm512_and_si512(_mm512_multishift_epi64_epi8(cut, _mm512_permutexvar_epi8(kY.vector(), v)), three);
      __builtin_memcpy(d + 4 * k, p + 36 * k, 2);
      __builtin_memcpy(d + 4 * k + 2, p + 36 * k + 18, 2);
      d[4 * k + 1] = d[4 * k];
      d[4 * k + 3] = d[4 * k + 2];
    }
    u.d = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(d)));
  }
  static __m512 dot(const Chunk512& u, const int8_t* q, const int32_t* fix) { return dot_chunk(u, q, fix, true); }
};

// 128 values in 18 bytes: a quad is one block. A set bit counts 2, from which 1 is taken.
struct KindQ1_0 {
  typedef Avx512 Isa;
  typedef Chunk512 Chunk;
  static constexpr int kBlockBytes = 18, kParts = 4, kOffset = 1;
  static constexpr bool kMin = false, kTwo = false;
  static constexpr ByteIndex kX = parts_index([](int b) constexpr { return 2 + 4 * b; }, 1, 1);
  static constexpr ByteIndex kY = parts_index([](int b) constexpr { return 4 + 4 * b; }, 1, 1);

  static void unpack(const uint8_t* p, Chunk512& u) {
    const __m512i bit = _mm512_set1_epi64(static_cast<int64_t>(0x8040201008040201ull)), two = _mm512_set1_epi8(2);
    alignas(32) uint16_t d[16];
    for (int k = 0; k < 4; k++) {
      const __m512i v = _mm512_maskz_loadu_epi8(0x3ffffull, p + 18 * k);
      u.x[k] = _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(_mm512_permutexvar_epi8(kX.vector(), v), bit), two);
      u.y[k] = _mm512_maskz_mov_epi8(_mm512_test_epi8_mask(_mm512_permutexvar_epi8(kY.vector(), v), bit), two);
      uint16_t h;
      __builtin_memcpy(&h, p + 18 * k, 2);
      for (int i = 0; i < 4; i++) d[4 * k + i] = h;
    }
    u.d = _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(d)));
  }
  static __m512 dot(const Chunk512& u, const int8_t* q, const int32_t* fix) { return dot_chunk(u, q, fix, true); }
};

// 64 values in 36 bytes: a quad is two blocks. Magnitudes, and a bit for a minus.
struct ChunkNVFP4 {
  __m512i x[4], y[4];
  __mmask64 minus_x[4], minus_y[4];
  __m512 d, m;
};

struct KindNVFP4 {
  typedef Avx512 Isa;
  typedef ChunkNVFP4 Chunk;
  static constexpr int kBlockBytes = 36, kParts = 2, kOffset = 0;
  static constexpr bool kMin = false, kTwo = true;
  static constexpr int kSecond = 56;
  static constexpr int at(int b, int byte) { return byte_index(b / 2 * 36 + byte, kSecond); }
  static constexpr ByteIndex nibbles_at(int half) {
    ByteIndex r = {};
    for (int i = 0; i < 64; i++) r.i[i] = static_cast<uint8_t>(at(i / 16, 4 + i / 16 % 2 * 16 + 8 * half + i % 8));
    return r;
  }
  // Dword 4 k + i, for every k: the scale of the half of block i.
  static constexpr ByteIndex scales_at(int half) {
    ByteIndex r = {};
    for (int i = 0; i < 64; i++) r.i[i] = static_cast<uint8_t>(at(i / 4 % 4, i / 4 % 2 * 2 + half));
    return r;
  }

  // Half of an unsigned E4M3 number: a shift of a normal one's bits.
  static __m512 scales(__m512i bytes) {
    const __m512i code = _mm512_and_si512(bytes, _mm512_set1_epi32(127));
    const __m512i normal = _mm512_add_epi32(_mm512_slli_epi32(code, 20), _mm512_set1_epi32(119 << 23));
    const __m512 tiny = _mm512_mul_ps(_mm512_cvtepi32_ps(code), _mm512_set1_ps(0x1p-10f));
    const __m512 any =
        _mm512_mask_mov_ps(_mm512_castsi512_ps(normal), _mm512_cmplt_epi32_mask(code, _mm512_set1_epi32(8)), tiny);
    return _mm512_maskz_mov_ps(_mm512_cmpneq_epi32_mask(code, _mm512_set1_epi32(127)), any);
  }

  static void unpack(const uint8_t* p, ChunkNVFP4& u) {
    static constexpr ByteIndex kX = nibbles_at(0), kY = nibbles_at(1), kDX = scales_at(0), kDY = scales_at(1);
    const __m512i shift = _mm512_setr_epi64(0, 4, 0, 4, 0, 4, 0, 4), low = _mm512_set1_epi8(15),
                  eight = _mm512_set1_epi8(8);
    const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, 1, 2, 3, 4, 6, 8, 12));
    __m512i dx = _mm512_setzero_si512(), dy = _mm512_setzero_si512();
    for (int k = 0; k < 4; k++) {
      const Quad quad = load_quad<18>(p + 72 * k);
      const __m512i x = _mm512_and_si512(_mm512_srlv_epi64(permute(quad, kX), shift), low);
      const __m512i y = _mm512_and_si512(_mm512_srlv_epi64(permute(quad, kY), shift), low);
      u.minus_x[k] = _mm512_test_epi8_mask(x, eight);
      u.minus_y[k] = _mm512_test_epi8_mask(y, eight);
      u.x[k] = _mm512_shuffle_epi8(table, x);
      u.y[k] = _mm512_shuffle_epi8(table, y);
      dx = _mm512_or_si512(dx, quad_heads(quad, kDX, k, 0x1111));
      dy = _mm512_or_si512(dy, quad_heads(quad, kDY, k, 0x1111));
    }
    u.d = scales(dx);
    u.m = scales(dy);
  }

  static void dot_two(const ChunkNVFP4& u, const int8_t* q, __m512* isum) {
    const __m512i zero = _mm512_setzero_si512();
    __m512i s[4], t[4];
    for (int k = 0; k < 4; k++) {
      const __m512i a = _mm512_loadu_si512(q + 128 * k), b = _mm512_loadu_si512(q + 128 * k + 64);
      s[k] = _mm512_dpbusd_epi32(zero, u.x[k], _mm512_mask_sub_epi8(a, u.minus_x[k], zero, a));
      t[k] = _mm512_dpbusd_epi32(zero, u.y[k], _mm512_mask_sub_epi8(b, u.minus_y[k], zero, b));
    }
    isum[0] = _mm512_cvtepi32_ps(block_sums(s));
    isum[1] = _mm512_cvtepi32_ps(block_sums(t));
  }
};

}  // namespace

void fill_avx512_matvec_q32(Kernels* k) {
#define HW_KERNEL(T) set_matvec(k, T, MatvecQ32<Kind##T>::run);
  HW_MATVEC_Q32(HW_KERNEL)
  HW_MATVEC_Q32_SMALL(HW_KERNEL)
}

}  // namespace hw
