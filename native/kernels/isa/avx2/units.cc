// Layouts of several planes on AVX2: eight output rows in a register. Products of codes of up to four bits are summed
// in 16 bits: eight of at most 2 * 15 * 127 fit. Of eight bits the size of a code meets the activation with its sign.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "../../unit_cells.h"

namespace hw {

namespace {

#define HW_FEW_TOKENS 4
#define HW_UNITS_TILE 4
constexpr int kFewTokens = HW_FEW_TOKENS, kTile = HW_UNITS_TILE, kLanes = 8, kPanelPairs = 1;
constexpr bool kSignedBytes = true;

typedef __m256i V;
typedef __m256 F;

alignas(32) const int32_t kFirst[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
inline __m256i first(int n) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kFirst + 8 - n)); }

inline V v_load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void v_store(void* p, V v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline V v_set32(int x) { return _mm256_set1_epi32(x); }
inline V v_and(V a, V b) { return _mm256_and_si256(a, b); }
inline V v_or(V a, V b) { return _mm256_or_si256(a, b); }
inline V v_xor(V a, V b) { return _mm256_xor_si256(a, b); }
inline V v_add8(V a, V b) { return _mm256_add_epi8(a, b); }
inline V v_add32(V a, V b) { return _mm256_add_epi32(a, b); }
inline V v_sub32(V a, V b) { return _mm256_sub_epi32(a, b); }
inline V v_mul32(V a, V b) { return _mm256_mullo_epi32(a, b); }
template <int N> inline V v_srl(V a) { return _mm256_srli_epi32(a, N); }
template <int N> inline V v_sll(V a) { return _mm256_slli_epi32(a, N); }
inline V v_four(const void* p) { return _mm256_set1_epi32(*static_cast<const int32_t*>(p)); }
inline V v_table(const int8_t* t) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(t)));
}
inline V v_lut(V table, V index) { return _mm256_shuffle_epi8(table, index); }
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
inline void v_quads(const uint8_t* const* rows, int64_t o, V* q) {
  const auto both = [&](int i) {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[i] + o));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low),
                                   _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[4 + i] + o)), 1);
  };
  const V r0 = both(0), r1 = both(1), r2 = both(2), r3 = both(3);
  const V a = _mm256_unpacklo_epi32(r0, r1), b = _mm256_unpacklo_epi32(r2, r3);
  const V c = _mm256_unpackhi_epi32(r0, r1), d = _mm256_unpackhi_epi32(r2, r3);
  q[0] = _mm256_unpacklo_epi64(a, b);
  q[1] = _mm256_unpackhi_epi64(a, b);
  q[2] = _mm256_unpacklo_epi64(c, d);
  q[3] = _mm256_unpackhi_epi64(c, d);
}

inline F f_load(const float* p) { return _mm256_loadu_ps(p); }
inline void f_store(float* p, F v) { _mm256_storeu_ps(p, v); }
inline F f_load_n(const float* p, int n) { return _mm256_maskload_ps(p, first(n)); }
inline void f_store_n(float* p, F v, int n) { _mm256_maskstore_ps(p, first(n), v); }
inline F f_halves(const uint8_t* p, int n) {
  alignas(16) uint16_t halves[8] = {};
  __builtin_memcpy(halves, p, static_cast<size_t>(2 * n));
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(halves)));
}
inline F f_set(const float* p) { return _mm256_broadcast_ss(p); }
inline F f_mul(F a, F b) { return _mm256_mul_ps(a, b); }
inline F f_fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
inline F f_of(V v) { return _mm256_cvtepi32_ps(v); }
inline F f_zero() { return _mm256_setzero_ps(); }

inline void order16(const int8_t* from, uint8_t* to, const uint8_t* table) {
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
  const __m128i places = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_shuffle_epi8(x, places));
}
inline __attribute__((always_inline)) void prefetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}

#include "../../body/units_integers.inl"

}  // namespace

void fill_avx2_units(Kernels* k) {
  k->units[UNITS_INTEGERS] = units_integers;
  k->units[UNITS_INTEGERS_SCATTERED] = units_scattered;
}

}  // namespace hw
