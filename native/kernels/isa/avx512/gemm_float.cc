// Many-row matmul of F32, F16 and BF16 weights; the algorithm is in body/gemm_float.inl. Floats of several planes with
// few rows and many: body/units_floats.inl.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include <type_traits>

#include "../../unit_cells.h"

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

#define HW_STRIP_VECTORS 4
constexpr int kStripVectors = HW_STRIP_VECTORS, kStripColumns = 1024;

inline F f_all(float x) { return _mm512_set1_ps(x); }
inline F f_add(F a, F b) { return _mm512_add_ps(a, b); }
inline void f_store_some(float* p, F v, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
}
template <Dtype D>
inline F f_floats(const uint8_t* p) {
  return f_weights<D>(p);
}

// Pairs of rows, then of pairs, inside quarters of vectors; then the quarters change places.
inline void f_transpose(F* v) {
  F a[16];
  for (int i = 0; i < 16; i += 4) {
    const __m512d low0 = _mm512_castps_pd(_mm512_unpacklo_ps(v[i], v[i + 1]));
    const __m512d high0 = _mm512_castps_pd(_mm512_unpackhi_ps(v[i], v[i + 1]));
    const __m512d low1 = _mm512_castps_pd(_mm512_unpacklo_ps(v[i + 2], v[i + 3]));
    const __m512d high1 = _mm512_castps_pd(_mm512_unpackhi_ps(v[i + 2], v[i + 3]));
    a[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low0, low1));
    a[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low0, low1));
    a[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high0, high1));
    a[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high0, high1));
  }
  F b[16];
  for (int i = 0; i < 4; i++) {
    for (int half = 0; half < 16; half += 8) {
      b[half + i] = _mm512_shuffle_f32x4(a[half + i], a[half + 4 + i], 0x88);
      b[half + 4 + i] = _mm512_shuffle_f32x4(a[half + i], a[half + 4 + i], 0xdd);
    }
  }
  for (int i = 0; i < 8; i++) {
    v[i] = _mm512_shuffle_f32x4(b[i], b[8 + i], 0x88);
    v[8 + i] = _mm512_shuffle_f32x4(b[i], b[8 + i], 0xdd);
  }
}

#include "../../body/gemm_float_strips.inl"

// Half as many weight rows as above for twice as many token rows: decoding costs more than converting.
constexpr int kUnitRows = 32, kUnitGroup = 48, kUnitChunk = 1024, kUnitFew = 4;
constexpr int kUnitSums = 16, kUnitAhead = 8192;

// Even numbers of 32, then odd ones.
inline void f_pairs(const float* x, float* out) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const F a = _mm512_loadu_ps(x), b = _mm512_loadu_ps(x + 16);
  _mm512_storeu_ps(out, _mm512_permutex2var_ps(a, even, b));
  _mm512_storeu_ps(out + 16, _mm512_permutex2var_ps(a, _mm512_add_epi32(even, _mm512_set1_epi32(1)), b));
}

inline float lanes_tree(F v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
// Of pairs the last step is that of the even sums and the odd ones.
inline float f_tree(const F* p, bool pairs) {
  return pairs ? lanes_tree(p[0]) + lanes_tree(p[1]) : lanes_tree(_mm512_add_ps(p[0], p[1]));
}

inline __attribute__((always_inline)) void prefetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

inline __m512i thirty_two(const uint8_t* p) {
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void halves_to_floats(__m512i h, F* v) {
  v[0] = _mm512_cvtph_ps(_mm512_castsi512_si256(h));
  v[1] = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(h, 1));
}

// The bytes of a code's value as a bfloat16, without the sign.
struct BytesE4M3 {
  uint8_t low[128], high[128];
};
constexpr BytesE4M3 bytes_e4m3() {
  BytesE4M3 made = {};
  for (int code = 0; code < 128; code++) {
    int bits = 0x3c00 + (code << 4);            // the exponent counts from another number
    if (code == 1) bits = 0x3b00;               // those below 2^-6 are multiples of 2^-9
    else if (code < 4) bits = 0x3b00 + (code << 6);
    else if (code < 8) bits = 0x3b80 + (code << 5);
    if (code == 0) bits = 0;
    if (code == 127) bits = 0x7fc0;
    made.low[code] = static_cast<uint8_t>(bits);
    made.high[code] = static_cast<uint8_t>(bits >> 8);
  }
  return made;
}
alignas(64) constexpr BytesE4M3 kBytesE4M3 = bytes_e4m3();

// For one token row: 22 instructions for 64 codes instead of 28, but registers that several token rows need.
struct CodesE4M3OfOne {
  static constexpr int kBytes = 32;
  static constexpr bool kPairs = true, kTwo = true;
  struct Bad {};
  static Bad good() { return {}; }
  // A code that is no number is one in the table, and so is the sum that it comes into.
  static bool is_bad(Bad, float sum, const uint8_t* p, int64_t n) {
    if (__builtin_expect(sum == sum, 1)) return false;
    for (int64_t i = 0; i < n; i++) {
      if ((p[i] & 127) == 127) return true;
    }
    return false;
  }
  struct Scaled {
    F scale;
    Scaled() = default;
    explicit Scaled(float s) : scale(_mm512_set1_ps(s)) {}
  };
  // Two bytes of each value are looked up and zipped: even inputs are the high halves of words, odd ones the low.
  static inline void values(__m512i codes, F* even, F* odd, bool second) {
    const __m512i low = _mm512_permutex2var_epi8(_mm512_load_si512(kBytesE4M3.low), codes,
                                                 _mm512_load_si512(kBytesE4M3.low + 64));
    const __m512i plain = _mm512_permutex2var_epi8(_mm512_load_si512(kBytesE4M3.high), codes,
                                                   _mm512_load_si512(kBytesE4M3.high + 64));
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    const __m512i high = _mm512_ternarylogic_epi32(plain, codes, sign, 0xf8);  // a | (b & c)
    const __m512i words = second ? _mm512_unpackhi_epi8(low, high) : _mm512_unpacklo_epi8(low, high);
    *even = _mm512_castsi512_ps(_mm512_slli_epi32(words, 16));
    *odd = _mm512_castsi512_ps(_mm512_and_si512(words, _mm512_set1_epi32(static_cast<int>(0xffff0000))));
  }
  // Eights of codes: those of the first 32 in the lower halves of the quarters, which are zipped together.
  static inline __m512i zipped(__m512i codes) {
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), codes);
  }
  static inline void load(const uint8_t* p, const Scaled& s, F* v, Bad*) {
    const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    values(zipped(_mm512_castsi256_si512(codes)), v, v + 1, false);
    v[0] = _mm512_mul_ps(v[0], s.scale);
    v[1] = _mm512_mul_ps(v[1], s.scale);
  }
  static inline void load_two(const uint8_t* p, const Scaled& s, F* v, Bad*) {
    const __m512i codes = zipped(_mm512_loadu_si512(p));
    values(codes, v, v + 1, false);
    values(codes, v + 2, v + 3, true);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) v[i] = _mm512_mul_ps(v[i], s.scale);
  }
};

struct CodesE4M3 {
  typedef CodesE4M3OfOne OfOne;
  static constexpr int kBytes = 32;
  static constexpr bool kPairs = false, kTwo = false;
  typedef __mmask32 Bad;
  static Bad good() { return 0; }
  static bool is_bad(Bad bad, float, const uint8_t*, int64_t) { return bad != 0; }
  struct Scaled {
    F scale;
    Scaled() = default;
    explicit Scaled(float s) : scale(_mm512_set1_ps(s * 256.0f)) {}
  };
  // The code as a half of a 256th of its value.
  static inline void load(const uint8_t* p, const Scaled& s, F* v, Bad* bad) {
    const __m512i h = _mm512_slli_epi16(
        _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 7);
    *bad |= _mm512_cmpeq_epi16_mask(_mm512_or_si512(h, _mm512_set1_epi16(static_cast<int16_t>(0xc000))),
                                    _mm512_set1_epi16(static_cast<int16_t>(0xff80)));
    halves_to_floats(_mm512_and_si512(h, _mm512_set1_epi16(static_cast<int16_t>(0xbfff))), v);
    v[0] = _mm512_mul_ps(v[0], s.scale);
    v[1] = _mm512_mul_ps(v[1], s.scale);
  }
  static inline void store(const uint8_t* p, const Scaled& s, float* out) {
    F v[2];
    Bad bad = 0;
    load(p, s, v, &bad);
    const F nan = _mm512_set1_ps(__builtin_nanf(""));
    _mm512_storeu_ps(out, _mm512_mask_mov_ps(v[0], static_cast<__mmask16>(bad), nan));
    _mm512_storeu_ps(out + 16, _mm512_mask_mov_ps(v[1], static_cast<__mmask16>(bad >> 16), nan));
  }
};

struct CodesE5M2 {
  typedef CodesE5M2 OfOne;
  static constexpr int kBytes = 32;
  static constexpr bool kPairs = false, kTwo = false;
  struct Bad {};
  static Bad good() { return {}; }
  static bool is_bad(Bad, float, const uint8_t*, int64_t) { return false; }
  struct Scaled {
    F scale;
    Scaled() = default;
    explicit Scaled(float s) : scale(_mm512_set1_ps(s)) {}
  };
  static inline void load(const uint8_t* p, const Scaled& s, F* v, Bad*) {
    halves_to_floats(_mm512_slli_epi16(thirty_two(p), 8), v);
    v[0] = _mm512_mul_ps(v[0], s.scale);
    v[1] = _mm512_mul_ps(v[1], s.scale);
  }
  static inline void store(const uint8_t* p, const Scaled& s, float* out) {
    F v[2];
    load(p, s, v, nullptr);
    _mm512_storeu_ps(out, v[0]);
    _mm512_storeu_ps(out + 16, v[1]);
  }
};

// Sixteen values are a register: they are scaled once a block, and codes are places in it.
template <bool kFp4>
struct CodesBook {
  typedef CodesBook OfOne;
  static constexpr int kBytes = 16;
  static constexpr bool kPairs = true, kTwo = false;
  struct Bad {};
  static Bad good() { return {}; }
  static bool is_bad(Bad, float, const uint8_t*, int64_t) { return false; }
  struct Scaled {
    F values;
    Scaled() = default;
    explicit Scaled(float s) : values(_mm512_mul_ps(_mm512_set1_ps(s), _mm512_load_ps(kFp4 ? kFP4 : kNF4))) {}
  };
  static inline void load(const uint8_t* p, const Scaled& s, F* v, Bad*) {
    // Four bits of each place count.
    const __m512i pairs = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    v[0] = _mm512_permutexvar_ps(_mm512_srli_epi32(pairs, 4), s.values);
    v[1] = _mm512_permutexvar_ps(pairs, s.values);
  }
  static inline void store(const uint8_t* p, const Scaled& s, float* out) {
    F v[2];
    load(p, s, v, nullptr);
    const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    _mm512_storeu_ps(out, _mm512_permutex2var_ps(v[0], low, v[1]));
    _mm512_storeu_ps(out + 16, _mm512_permutex2var_ps(v[0], _mm512_add_epi32(low, _mm512_set1_epi32(8)), v[1]));
  }
};

#include "../../body/units_floats.inl"

}  // namespace

void fill_avx512_gemm_float(Kernels* k) {
  set_float<F32>(k, 3);
  set_float<F16>(k, 3);
  set_float<BF16>(k, 3);
  set_strips(k);
  k->units[UNITS_FLOATS] = units_floats;
}

}  // namespace hw
