// Layouts of several planes with VNNI: sixteen output rows in a register.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include <type_traits>

#include "../../unit_cells.h"
#include "panel.inl"

namespace hw {

namespace {

#define HW_FEW_TOKENS 8
#define HW_UNITS_TILE 6
constexpr int kAwqTokens = 2;
constexpr int kFewTokens = HW_FEW_TOKENS, kTile = HW_UNITS_TILE, kLanes = 16, kPanelPairs = 2;
constexpr bool kSignedBytes = false;

inline __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1); }

inline V v_sub32(V a, V b) { return _mm512_sub_epi32(a, b); }
[[maybe_unused]] inline V v_byte(V q, int i, bool) {
  return _mm512_and_si512(_mm512_srl_epi32(q, _mm_cvtsi32_si128(8 * i)), _mm512_set1_epi32(255));
}
template <bool> inline V v_dot(V sum, V w, V a) { return _mm512_dpbusd_epi32(sum, w, a); }
template <bool> inline V v_total(V sum) { return sum; }
inline V v_plus(V s, V a, V b) { return _mm512_dpwssd_epi32(s, a, b); }
inline V v_pairs(V a, V b) { return _mm512_madd_epi16(a, b); }

inline V v_words(const uint8_t* p, int valid) {
  return valid == kLanes ? _mm512_loadu_si512(p) : _mm512_maskz_loadu_epi32(first(valid), p);
}
// Nibble i of two words, in lane i; as AWQ has it, row by row.
inline V v_nibbles(const uint8_t* p, int valid, bool awq) {
  uint64_t both = 0;
  __builtin_memcpy(&both, p, valid == kLanes ? 8 : 4);
  const V words = _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
                                           _mm512_set1_epi64(static_cast<int64_t>(both)));
  const V plain = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
  const V mixed = _mm512_setr_epi32(0, 16, 4, 20, 8, 24, 12, 28, 0, 16, 4, 20, 8, 24, 12, 28);
  return _mm512_and_si512(_mm512_srlv_epi32(words, awq ? mixed : plain), _mm512_set1_epi32(15));
}

// Byte (row, input) of a quad: which of the low nibbles of four inputs' words, or of the high ones behind them.
struct AwqPlaces {
  uint8_t at[64];
};
constexpr AwqPlaces awq_places() {
  AwqPlaces made = {};
  for (int row = 0; row < 16; row++) {
    for (int input = 0; input < 4; input++) {
      const int nibble = kAwqNibble[row % 8];
      const int byte = 8 * input + 4 * (row / 8) + nibble / 2;
      made.at[4 * row + input] = static_cast<uint8_t>(byte + nibble % 2 * 64);
    }
  }
  return made;
}
constexpr AwqPlaces kAwqPlaces = awq_places();

inline V v_awq(const uint8_t* p, int64_t stride, int valid) {
  __m128i two[2];
  for (int i = 0; i < 2; i++) {
    uint64_t words[2] = {};
    for (int k = 0; k < 2; k++) {
      if (valid == kLanes) __builtin_memcpy(&words[k], p + (2 * i + k) * stride, 8);
      else __builtin_memcpy(&words[k], p + (2 * i + k) * stride, 4);
    }
    two[i] = _mm_set_epi64x(static_cast<int64_t>(words[1]), static_cast<int64_t>(words[0]));
  }
  const __m256i all = _mm256_inserti128_si256(_mm256_castsi128_si256(two[0]), two[1], 1);
  const __m256i nibble = _mm256_set1_epi8(15);
  const V low = _mm512_castsi256_si512(_mm256_and_si256(all, nibble));
  const V high = _mm512_castsi256_si512(_mm256_and_si256(_mm256_srli_epi16(all, 4), nibble));
  return _mm512_permutex2var_epi8(low, _mm512_loadu_si512(kAwqPlaces.at), high);
}

inline V v_zip8_low(V a, V b) { return _mm512_unpacklo_epi8(a, b); }
inline V v_zip8_high(V a, V b) { return _mm512_unpackhi_epi8(a, b); }
inline V v_zip16_low(V a, V b) { return _mm512_unpacklo_epi16(a, b); }
inline V v_zip16_high(V a, V b) { return _mm512_unpackhi_epi16(a, b); }
inline F f_zip_low(F a, F b) { return _mm512_unpacklo_ps(a, b); }
inline F f_zip_high(F a, F b) { return _mm512_unpackhi_ps(a, b); }
inline F f_evens(F a, F b) { return _mm512_shuffle_ps(a, b, 0x88); }
inline F f_odds(F a, F b) { return _mm512_shuffle_ps(a, b, 0xdd); }
inline F f_load_lanes(const float* p, int step) {
  const __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + step), 1);
  p += 2 * step;
  const __m256 high = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + step), 1);
  return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}
inline void f_store_lanes(float* p, int step, F v) {
  _mm_storeu_ps(p, _mm512_castps512_ps128(v));
  _mm_storeu_ps(p + step, _mm512_extractf32x4_ps(v, 1));
  _mm_storeu_ps(p + 2 * step, _mm512_extractf32x4_ps(v, 2));
  _mm_storeu_ps(p + 3 * step, _mm512_extractf32x4_ps(v, 3));
}

inline F f_load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
inline void f_store_n(float* p, F v, int n) { _mm512_mask_storeu_ps(p, first(n), v); }
inline F f_halves(const uint8_t* p, int n) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p)); }

inline void order16(const int8_t* from, uint8_t* to, const uint8_t* table) {
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m128i places = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_shuffle_epi8(x, places));
}

#include "../../body/units_integers.inl"

}  // namespace

void fill_avx512_units(Kernels* k) {
  k->units[UNITS_INTEGERS] = units_integers;
  k->units[UNITS_INTEGERS_SCATTERED] = units_scattered;
}

}  // namespace hw
