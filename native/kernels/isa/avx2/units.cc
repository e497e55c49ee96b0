// Layouts of several planes on AVX2: eight output rows in a register. Products of codes of up to four bits are summed
// in 16 bits: eight of at most 2 * 15 * 127 fit. Of eight bits the size of a code meets the activation with its sign.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include <type_traits>

#include "../../unit_cells.h"
#include "../../body/panel_avx2.inl"

namespace hw {

namespace {

#define HW_FEW_TOKENS 4
#define HW_UNITS_TILE 4
constexpr int kAwqTokens = 1;
constexpr int kFewTokens = HW_FEW_TOKENS, kTile = HW_UNITS_TILE, kLanes = 8, kPanelPairs = 1;
constexpr bool kSignedBytes = true;

alignas(32) const int32_t kFirst[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
inline __m256i first(int n) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kFirst + 8 - n)); }

inline V v_sub32(V a, V b) { return _mm256_sub_epi32(a, b); }
inline V v_byte(V q, int i, bool with_sign) {
  const V up = _mm256_sll_epi32(q, _mm_cvtsi32_si128(24 - 8 * i));
  return with_sign ? _mm256_srai_epi32(up, 24) : _mm256_srli_epi32(up, 24);
}
template <bool kWide>
inline V v_dot(V sum, V w, V a) {
  if (!kWide) return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, a));
  const V pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
template <bool kWide>
inline V v_total(V sum) {
  return kWide ? sum : _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
}
inline V v_plus(V s, V a, V b) { return _mm256_add_epi32(s, _mm256_madd_epi16(a, b)); }
inline V v_pairs(V a, V b) { return _mm256_madd_epi16(a, b); }

inline V v_words(const uint8_t* p, int valid) {
  return valid == kLanes ? v_load(p) : _mm256_maskload_epi32(reinterpret_cast<const int*>(p), first(valid));
}
inline V v_nibbles(const uint8_t* p, int, bool awq) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  const V plain = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
  const V mixed = _mm256_setr_epi32(0, 16, 4, 20, 8, 24, 12, 28);
  return _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(word), awq ? mixed : plain), _mm256_set1_epi32(15));
}
inline V v_awq(const uint8_t* p, int64_t stride, int) {
  int32_t words[4];
  for (int i = 0; i < 4; i++) __builtin_memcpy(&words[i], p + i * stride, 4);
  // Byte b of the four inputs side by side.
  const __m128i bytes = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)),
                                         _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
  const __m128i nibble = _mm_set1_epi8(15);
  const V both = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_and_si128(bytes, nibble)),
                                         _mm_and_si128(_mm_srli_epi16(bytes, 4), nibble), 1);
  // Rows 0, 1, ... are nibbles 0, 4, 1, 5, 2, 6, 3, 7: low ones of even, high ones of odd number.
  return _mm256_permutevar8x32_epi32(both, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
}

inline V v_zip8_low(V a, V b) { return _mm256_unpacklo_epi8(a, b); }
inline V v_zip8_high(V a, V b) { return _mm256_unpackhi_epi8(a, b); }
inline V v_zip16_low(V a, V b) { return _mm256_unpacklo_epi16(a, b); }
inline V v_zip16_high(V a, V b) { return _mm256_unpackhi_epi16(a, b); }
inline F f_zip_low(F a, F b) { return _mm256_unpacklo_ps(a, b); }
inline F f_zip_high(F a, F b) { return _mm256_unpackhi_ps(a, b); }
inline F f_evens(F a, F b) { return _mm256_shuffle_ps(a, b, 0x88); }
inline F f_odds(F a, F b) { return _mm256_shuffle_ps(a, b, 0xdd); }
inline F f_load_lanes(const float* p, int step) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + step), 1);
}
inline void f_store_lanes(float* p, int step, F v) {
  _mm_storeu_ps(p, _mm256_castps256_ps128(v));
  _mm_storeu_ps(p + step, _mm256_extractf128_ps(v, 1));
}

inline F f_load_n(const float* p, int n) { return _mm256_maskload_ps(p, first(n)); }
inline void f_store_n(float* p, F v, int n) { _mm256_maskstore_ps(p, first(n), v); }
inline F f_halves(const uint8_t* p, int n) {
  alignas(16) uint16_t halves[8] = {};
  __builtin_memcpy(halves, p, static_cast<size_t>(2 * n));
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(halves)));
}

inline void order16(const int8_t* from, uint8_t* to, const uint8_t* table) {
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m128i places = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_shuffle_epi8(x, places));
}

#include "../../body/units_integers.inl"

}  // namespace

void fill_avx2_units(Kernels* k) {
  k->units[UNITS_INTEGERS] = units_integers;
  k->units[UNITS_INTEGERS_SCATTERED] = units_scattered;
}

}  // namespace hw
