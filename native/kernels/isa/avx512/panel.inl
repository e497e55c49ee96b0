// The vocabulary of gemm_unpack.inl, gemm_dot.inl and units_integers.inl in 512-bit registers: 16 weight rows.
#include <immintrin.h>
#include <stdint.h>

namespace hw {
namespace {

typedef __m512i V;  // weight rows 0-15
typedef __m512 F;

inline V v_load(const void* p) { return _mm512_loadu_si512(p); }
inline void v_store(void* p, V v) { _mm512_storeu_si512(p, v); }
inline V v_set32(int x) { return _mm512_set1_epi32(x); }
inline V v_and(V a, V b) { return _mm512_and_si512(a, b); }
inline V v_or(V a, V b) { return _mm512_or_si512(a, b); }
inline V v_xor(V a, V b) { return _mm512_xor_si512(a, b); }
inline V v_add8(V a, V b) { return _mm512_add_epi8(a, b); }
inline V v_add16(V a, V b) { return _mm512_add_epi16(a, b); }
inline V v_sub16(V a, V b) { return _mm512_sub_epi16(a, b); }
inline V v_mul16(V a, V b) { return _mm512_mullo_epi16(a, b); }
inline V v_add32(V a, V b) { return _mm512_add_epi32(a, b); }
template <int N> inline V v_srl(V a) { return _mm512_srli_epi32(a, N); }
template <int N> inline V v_sra(V a) { return _mm512_srai_epi32(a, N); }
template <int N> inline V v_sll(V a) { return _mm512_slli_epi32(a, N); }
template <int N> inline V v_sll16(V a) { return _mm512_slli_epi16(a, N); }
inline V v_gt32(V a, V b) { return _mm512_movm_epi32(_mm512_cmpgt_epi32_mask(a, b)); }
inline V v_select(V mask, V a, V b) { return _mm512_ternarylogic_epi32(mask, a, b, 0xca); }
inline V v_table(const int8_t* t) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(t)));
}
inline V v_lut(V table, V index) { return _mm512_shuffle_epi8(table, index); }
template <int I> inline V v_spread_byte(V v) {
  const __m128i lanes = _mm_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
  return _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(_mm_add_epi8(lanes, _mm_set1_epi8(I))));
}
inline V v_add_16_where(V q, V a, V b) {
  return _mm512_mask_add_epi8(q, _mm512_test_epi8_mask(a, b), q, _mm512_set1_epi8(16));
}
inline V v_negate_where(V v, V a, V b) {
  return _mm512_mask_sub_epi8(v, _mm512_test_epi8_mask(a, b), _mm512_setzero_si512(), v);
}
inline V v_gather(const uint32_t* book, V index) { return _mm512_i32gather_epi32(index, book, 4); }
inline void v_half(uint8_t* out, V v) { _mm512_storeu_ps(out, _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v))); }
inline V v_widen16(const uint8_t* p) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline V v_widen8(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

inline V v_four(const void* p) { return _mm512_set1_epi32(*static_cast<const int32_t*>(p)); }
inline F f_zero() { return _mm512_setzero_ps(); }
inline F f_load(const void* p) { return _mm512_loadu_ps(p); }
inline void f_store(float* p, F v) { _mm512_storeu_ps(p, v); }
inline F f_set(const void* p) { return _mm512_set1_ps(*static_cast<const float*>(p)); }
inline F f_mul(F a, F b) { return _mm512_mul_ps(a, b); }
inline F f_fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
inline F f_of(V v) { return _mm512_cvtepi32_ps(v); }

inline V load_four_rows(const uint8_t* const* p, int i, int64_t o) {
  // Insertions of 16 bytes run at two a cycle in 256 bits, at one in 512.
  const auto at = [&](int r) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p[r] + o)); };
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(at(i)), at(4 + i), 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(at(8 + i)), at(12 + i), 1);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// 128-bit lane l of register i holds row 4 l + i, so the in-lane 4x4 transpose leaves the rows in order.
inline void v_load_quads(const uint8_t* const* p, int64_t o, V* q) {
  const V r0 = load_four_rows(p, 0, o), r1 = load_four_rows(p, 1, o);
  const V r2 = load_four_rows(p, 2, o), r3 = load_four_rows(p, 3, o);
  const V a = _mm512_unpacklo_epi32(r0, r1), b = _mm512_unpacklo_epi32(r2, r3);
  const V c = _mm512_unpackhi_epi32(r0, r1), d = _mm512_unpackhi_epi32(r2, r3);
  q[0] = _mm512_unpacklo_epi64(a, b);
  q[1] = _mm512_unpackhi_epi64(a, b);
  q[2] = _mm512_unpacklo_epi64(c, d);
  q[3] = _mm512_unpackhi_epi64(c, d);
}

// To the second level: fetches for the first hold one of its few miss buffers until memory answers, and with panels the
// first is full. Without panels it is not, and two token rows are 6 % quicker by it (0008). (Without the attribute GCC
// 12 takes a function that only prefetches for one without effects and drops calls.)
inline __attribute__((always_inline)) void v_prefetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}
inline __attribute__((always_inline)) void v_prefetch_near(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

}  // namespace
}  // namespace hw
