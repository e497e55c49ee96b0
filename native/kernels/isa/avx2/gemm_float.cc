// Many-row matmul of F32, F16 and BF16 weights; the algorithm is in body/gemm_float.inl. Floats of several planes with
// few rows and many: body/units_floats.inl.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include <type_traits>

#include "../../unit_cells.h"

namespace hw {

namespace {

#define HW_GEMM_TILE 3
typedef __m256 F;
constexpr int kLanes = 8;
constexpr int kTile = HW_GEMM_TILE;
constexpr int kRows = 8, kGroup = 128, kChunk = 512;
constexpr bool kPanel = true;

inline F f_load(const float* p) { return _mm256_loadu_ps(p); }
inline void f_store(float* p, F v) { _mm256_storeu_ps(p, v); }
inline F f_fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
inline F f_zero() { return _mm256_setzero_ps(); }

template <Dtype D>
inline F f_weights(const uint8_t* p) {
  static_assert(D == F32, "halves come from the panel");
  return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
}

template <Dtype D>
inline void f_convert(const uint8_t* from, float* to) {
  for (int i = 0; i < 32; i += 8) {
    if (D == F32) {
      _mm256_storeu_ps(to + i, _mm256_loadu_ps(reinterpret_cast<const float*>(from + 4 * i)));
    } else {
      const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + 2 * i));
      _mm256_storeu_ps(to + i, D == F16 ? _mm256_cvtph_ps(h)
                                        : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)));
    }
  }
}

// p[0..3] of four outputs, the tree's last two steps: (p0 + p2) + (p1 + p3).
inline void reduce_last(const __m128* v, float* out) {
  __m128 a = v[0], b = v[1], c = v[2], d = v[3];
  _MM_TRANSPOSE4_PS(a, b, c, d);
  _mm_storeu_ps(out, _mm_add_ps(_mm_add_ps(a, c), _mm_add_ps(b, d)));
}

inline void f_reduce4(const float* p, int stride, float* out) {
  __m128 v[4];
  for (int i = 0; i < 4; i++, p += stride) {
    const __m256 a = _mm256_add_ps(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 16));
    const __m256 b = _mm256_add_ps(_mm256_loadu_ps(p + 8), _mm256_loadu_ps(p + 24));
    const __m256 s = _mm256_add_ps(a, b);
    v[i] = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  }
  reduce_last(v, out);
}

#include "../../body/gemm_float.inl"

#define HW_STRIP_VECTORS 2
constexpr int kStripVectors = HW_STRIP_VECTORS, kStripColumns = 768;

inline F f_all(float x) { return _mm256_set1_ps(x); }
inline F f_add(F a, F b) { return _mm256_add_ps(a, b); }
inline void f_store_some(float* p, F v, int n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  _mm256_maskstore_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane), v);
}
template <Dtype D>
inline F f_floats(const uint8_t* p) {
  if (D == F32) return _mm256_loadu_ps(reinterpret_cast<const float*>(p));
  const __m128i h = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return D == F16 ? _mm256_cvtph_ps(h) : _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

// Pairs of rows, then of pairs, inside halves of vectors; then the halves change places.
inline void f_transpose(F* v) {
  F a[8];
  for (int i = 0; i < 8; i += 4) {
    const __m256d low0 = _mm256_castps_pd(_mm256_unpacklo_ps(v[i], v[i + 1]));
    const __m256d high0 = _mm256_castps_pd(_mm256_unpackhi_ps(v[i], v[i + 1]));
    const __m256d low1 = _mm256_castps_pd(_mm256_unpacklo_ps(v[i + 2], v[i + 3]));
    const __m256d high1 = _mm256_castps_pd(_mm256_unpackhi_ps(v[i + 2], v[i + 3]));
    a[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(low0, low1));
    a[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(low0, low1));
    a[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(high0, high1));
    a[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(high0, high1));
  }
  for (int i = 0; i < 4; i++) {
    v[i] = _mm256_permute2f128_ps(a[i], a[4 + i], 0x20);
    v[4 + i] = _mm256_permute2f128_ps(a[i], a[4 + i], 0x31);
  }
}

#include "../../body/gemm_float_strips.inl"

constexpr int kUnitRows = kRows, kUnitGroup = kGroup, kUnitChunk = kChunk, kUnitFew = 2;
constexpr int kUnitSums = 8, kUnitAhead = 8192;

// Even numbers of 32, then odd ones.
inline void f_pairs(const float* x, float* out) {
  for (int i = 0; i < 16; i++) {
    out[i] = x[2 * i];
    out[16 + i] = x[2 * i + 1];
  }
}

inline float lanes_tree(F v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
// Of pairs the last step is that of the even sums and the odd ones.
inline float f_tree(const F* p, bool pairs) {
  if (pairs) return lanes_tree(_mm256_add_ps(p[0], p[1])) + lanes_tree(_mm256_add_ps(p[2], p[3]));
  return lanes_tree(_mm256_add_ps(_mm256_add_ps(p[0], p[2]), _mm256_add_ps(p[1], p[3])));
}

inline __attribute__((always_inline)) void prefetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

inline __m128i sixteen(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }
inline void halves_to_floats(__m256i h, F scale, F* v) {
  v[0] = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(h)), scale);
  v[1] = _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(h, 1)), scale);
}

struct CodesE4M3 {
  typedef CodesE4M3 OfOne;
  static constexpr int kBytes = 32;
  static constexpr bool kPairs = false, kTwo = false;
  typedef __m256i Bad;
  static Bad good() { return _mm256_setzero_si256(); }
  static bool is_bad(Bad bad, float = 0, const uint8_t* = nullptr, int64_t = 0) {
    return _mm256_movemask_epi8(bad) != 0;
  }
  struct Scaled {
    F scale;
    Scaled() = default;
    explicit Scaled(float s) : scale(_mm256_set1_ps(s * 256.0f)) {}
  };
  // The code as a half of a 256th of its value.
  static inline void load(const uint8_t* p, const Scaled& s, F* v, Bad* bad) {
    for (int i = 0; i < 2; i++) {
      const __m256i h = _mm256_slli_epi16(_mm256_cvtepi8_epi16(sixteen(p + 16 * i)), 7);
      const __m256i size = _mm256_or_si256(h, _mm256_set1_epi16(static_cast<int16_t>(0xc000)));
      *bad = _mm256_or_si256(*bad, _mm256_cmpeq_epi16(size, _mm256_set1_epi16(static_cast<int16_t>(0xff80))));
      halves_to_floats(_mm256_and_si256(h, _mm256_set1_epi16(static_cast<int16_t>(0xbfff))), s.scale, v + 2 * i);
    }
  }
  static inline void store(const uint8_t* p, const Scaled& s, float* out) {
    F v[4];
    Bad bad = good();
    load(p, s, v, &bad);
    for (int i = 0; i < 4; i++) _mm256_storeu_ps(out + 8 * i, v[i]);
    for (int i = 0; is_bad(bad) && i < 32; i++) {
      if ((p[i] & 127) == 127) out[i] = __builtin_nanf("");
    }
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
    explicit Scaled(float s) : scale(_mm256_set1_ps(s)) {}
  };
  static inline void load(const uint8_t* p, const Scaled& s, F* v, Bad*) {
    for (int i = 0; i < 2; i++) {
      halves_to_floats(_mm256_slli_epi16(_mm256_cvtepu8_epi16(sixteen(p + 16 * i)), 8), s.scale, v + 2 * i);
    }
  }
  static inline void store(const uint8_t* p, const Scaled& s, float* out) {
    F v[4];
    load(p, s, v, nullptr);
    for (int i = 0; i < 4; i++) _mm256_storeu_ps(out + 8 * i, v[i]);
  }
};

// Sixteen values are two registers: they are scaled once a block, and codes are places in them.
template <bool kFp4>
struct CodesBook {
  typedef CodesBook OfOne;
  static constexpr int kBytes = 16;
  static constexpr bool kPairs = true, kTwo = false;
  struct Bad {};
  static Bad good() { return {}; }
  static bool is_bad(Bad, float, const uint8_t*, int64_t) { return false; }
  struct Scaled {
    F low, high;
    Scaled() = default;
    explicit Scaled(float s)
        : low(_mm256_mul_ps(_mm256_set1_ps(s), _mm256_load_ps(kFp4 ? kFP4 : kNF4))),
          high(_mm256_mul_ps(_mm256_set1_ps(s), _mm256_load_ps((kFp4 ? kFP4 : kNF4) + 8))) {}
  };
  // Three bits of a place count, the fourth says which half.
  static inline F values_at(__m256i places, const Scaled& s) {
    const F half = _mm256_castsi256_ps(_mm256_slli_epi32(places, 28));
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(s.low, places), _mm256_permutevar8x32_ps(s.high, places), half);
  }
  static inline void load(const uint8_t* p, const Scaled& s, F* v, Bad*) {
    for (int i = 0; i < 2; i++) {
      const __m256i pairs = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8 * i)));
      v[i] = values_at(_mm256_srli_epi32(pairs, 4), s);
      v[2 + i] = values_at(pairs, s);
    }
  }
  static inline void store(const uint8_t* p, const Scaled& s, float* out) {
    F v[4];
    load(p, s, v, nullptr);
    for (int i = 0; i < 2; i++) {
      const F a = _mm256_unpacklo_ps(v[i], v[2 + i]), b = _mm256_unpackhi_ps(v[i], v[2 + i]);
      _mm256_storeu_ps(out + 16 * i, _mm256_permute2f128_ps(a, b, 0x20));
      _mm256_storeu_ps(out + 16 * i + 8, _mm256_permute2f128_ps(a, b, 0x31));
    }
  }
};

#include "../../body/units_floats.inl"

}  // namespace

void fill_avx2_gemm_float(Kernels* k) {
  set_float<F32>(k, 5);
  set_float<F16>(k, 5);
  set_float<BF16>(k, 5);
  set_strips(k);
  k->units[UNITS_FLOATS] = units_floats;
}

}  // namespace hw
