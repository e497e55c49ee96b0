// The vocabulary of gemm_unpack.inl, gemm_dot.inl and gemm_few.inl in 256-bit registers: panels of 8 weight rows. What
// multiplies bytes is the including source's own (isa/avx2: 16-bit sums; isa/avxvnni: VPDPBUSD).
#include <immintrin.h>
#include <stdint.h>

namespace hw {
namespace {

typedef __m256i V;  // weight rows 0-7
typedef __m256 F;

inline V v_load(const void* p) { return _mm256_loadu_si256(static_cast<const V*>(p)); }
inline void v_store(void* p, V v) { _mm256_storeu_si256(static_cast<V*>(p), v); }
inline V v_set32(int x) { return _mm256_set1_epi32(x); }
inline V v_and(V a, V b) { return _mm256_and_si256(a, b); }
inline V v_or(V a, V b) { return _mm256_or_si256(a, b); }
inline V v_xor(V a, V b) { return _mm256_xor_si256(a, b); }
inline V v_add8(V a, V b) { return _mm256_add_epi8(a, b); }
inline V v_add16(V a, V b) { return _mm256_add_epi16(a, b); }
inline V v_sub16(V a, V b) { return _mm256_sub_epi16(a, b); }
inline V v_mul16(V a, V b) { return _mm256_mullo_epi16(a, b); }
inline V v_add32(V a, V b) { return _mm256_add_epi32(a, b); }
inline V v_gt32(V a, V b) { return _mm256_cmpgt_epi32(a, b); }
template <int N> inline V v_srl(V a) { return _mm256_srli_epi32(a, N); }
template <int N> inline V v_sra(V a) { return _mm256_srai_epi32(a, N); }
template <int N> inline V v_sll(V a) { return _mm256_slli_epi32(a, N); }
template <int N> inline V v_sll16(V a) { return _mm256_slli_epi16(a, N); }
inline V v_select(V mask, V a, V b) { return _mm256_blendv_epi8(b, a, mask); }
inline V v_table(const int8_t* t) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(t)));
}
inline V v_lut(V table, V index) { return _mm256_shuffle_epi8(table, index); }
template <int I> inline V v_spread_byte(V v) {
  const __m128i lanes = _mm_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
  return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(_mm_add_epi8(lanes, _mm_set1_epi8(I))));
}
inline V v_add_16_where(V q, V a, V b) {
  const V none = _mm256_cmpeq_epi8(_mm256_and_si256(a, b), _mm256_setzero_si256());
  return _mm256_or_si256(q, _mm256_andnot_si256(none, _mm256_set1_epi8(16)));
}
inline V v_negate_where(V v, V a, V b) {
  const V none = _mm256_cmpeq_epi8(_mm256_and_si256(a, b), _mm256_setzero_si256());
  return _mm256_sign_epi8(v, _mm256_sub_epi8(_mm256_set1_epi8(-1), _mm256_add_epi8(none, none)));
}
inline V v_gather(const uint32_t* book, V index) {
  return _mm256_i32gather_epi32(reinterpret_cast<const int*>(book), index, 4);
}
inline void v_half(uint8_t* out, V v) {
  const V low = _mm256_and_si256(v, _mm256_set1_epi32(0xffff));
  const V h = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, low), 0xd8);
  _mm256_storeu_ps(reinterpret_cast<float*>(out), _mm256_cvtph_ps(_mm256_castsi256_si128(h)));
}

inline V v_four(const void* p) { return _mm256_set1_epi32(*static_cast<const int32_t*>(p)); }
inline F f_zero() { return _mm256_setzero_ps(); }
inline F f_load(const void* p) { return _mm256_loadu_ps(static_cast<const float*>(p)); }
inline void f_store(float* p, F v) { _mm256_storeu_ps(p, v); }
inline F f_set(const void* p) { return _mm256_set1_ps(*static_cast<const float*>(p)); }
inline F f_mul(F a, F b) { return _mm256_mul_ps(a, b); }
inline F f_fma(F a, F b, F c) { return _mm256_fmadd_ps(a, b, c); }
inline F f_of(V v) { return _mm256_cvtepi32_ps(v); }

// 128-bit lane l of register i holds row 4 l + i, so the in-lane 4x4 transpose leaves the rows in order.
inline void v_load_quads(const uint8_t* const* p, int64_t o, V* q) {
  const auto two = [&](int i) {
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p[i] + o))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(p[4 + i] + o)), 1);
  };
  const V r0 = two(0), r1 = two(1), r2 = two(2), r3 = two(3);
  const V a = _mm256_unpacklo_epi32(r0, r1), b = _mm256_unpacklo_epi32(r2, r3);
  const V c = _mm256_unpackhi_epi32(r0, r1), d = _mm256_unpackhi_epi32(r2, r3);
  q[0] = _mm256_unpacklo_epi64(a, b);
  q[1] = _mm256_unpackhi_epi64(a, b);
  q[2] = _mm256_unpacklo_epi64(c, d);
  q[3] = _mm256_unpackhi_epi64(c, d);
}

// To the second level with panels, to the first without (0008). (Without the attribute GCC 12 takes a function that
// only prefetches for one without effects and drops calls.)
inline __attribute__((always_inline)) void v_prefetch(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1);
}
inline __attribute__((always_inline)) void v_prefetch_near(const uint8_t* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}

}  // namespace
}  // namespace hw
