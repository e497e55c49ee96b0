// Many-row matmul without VNNI: unsigned times signed bytes summed in 16 bits for as many quads as cannot overflow, then
// one multiply-add with the 16-bit group scale. Lanes are weight rows. The driver and the panel layout are in body/.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "../../blocks.h"
#include "../../kernels.h"

namespace hw {

void fill_avx2_gemm_float(Kernels* k);

namespace {

#define HW_GEMM_TILE 4
constexpr int kTile = HW_GEMM_TILE;
constexpr int kPanels = 1;
constexpr bool kPremultiply = false;
constexpr bool kSixteenBit = true;
constexpr bool kSignedBytes = false;

struct V {
  __m256i lo, hi;  // weight rows 0-7 and 8-15
};

inline __m256i load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline V v_load(const uint8_t* p) { return {load256(p), load256(p + 32)}; }
inline void v_store(uint8_t* p, V v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v.lo);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), v.hi);
}
inline V v_set32(int x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
#define HW_BINARY(name, op) \
  inline V name(V a, V b) { return {op(a.lo, b.lo), op(a.hi, b.hi)}; }
HW_BINARY(v_and, _mm256_and_si256)
HW_BINARY(v_or, _mm256_or_si256)
HW_BINARY(v_xor, _mm256_xor_si256)
HW_BINARY(v_add8, _mm256_add_epi8)
HW_BINARY(v_add16, _mm256_add_epi16)
HW_BINARY(v_sub16, _mm256_sub_epi16)
HW_BINARY(v_mul16, _mm256_mullo_epi16)
HW_BINARY(v_add32, _mm256_add_epi32)
HW_BINARY(v_gt32, _mm256_cmpgt_epi32)
HW_BINARY(v_lut, _mm256_shuffle_epi8)
#undef HW_BINARY
template <int N> inline V v_srl(V a) { return {_mm256_srli_epi32(a.lo, N), _mm256_srli_epi32(a.hi, N)}; }
template <int N> inline V v_sra(V a) { return {_mm256_srai_epi32(a.lo, N), _mm256_srai_epi32(a.hi, N)}; }
template <int N> inline V v_sll(V a) { return {_mm256_slli_epi32(a.lo, N), _mm256_slli_epi32(a.hi, N)}; }
template <int N> inline V v_sll16(V a) { return {_mm256_slli_epi16(a.lo, N), _mm256_slli_epi16(a.hi, N)}; }
inline V v_select(V mask, V a, V b) {
  return {_mm256_blendv_epi8(b.lo, a.lo, mask.lo), _mm256_blendv_epi8(b.hi, a.hi, mask.hi)};
}
inline V v_table(const int8_t* t) {
  const __m256i v = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(t)));
  return {v, v};
}
template <int I> inline V v_spread_byte(V v) {
  const __m128i lanes = _mm_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
  const __m256i index = _mm256_broadcastsi128_si256(_mm_add_epi8(lanes, _mm_set1_epi8(I)));
  return v_lut(v, {index, index});
}
inline V v_add_16_where(V q, V a, V b) {
  const V none = {_mm256_cmpeq_epi8(_mm256_and_si256(a.lo, b.lo), _mm256_setzero_si256()),
                  _mm256_cmpeq_epi8(_mm256_and_si256(a.hi, b.hi), _mm256_setzero_si256())};
  const __m256i sixteen = _mm256_set1_epi8(16);
  return v_or(q, {_mm256_andnot_si256(none.lo, sixteen), _mm256_andnot_si256(none.hi, sixteen)});
}
inline void v_half(uint8_t* out, V v) {
  const V low = v_and(v, v_set32(0xffff));
  const __m256i h = _mm256_permute4x64_epi64(_mm256_packus_epi32(low.lo, low.hi), 0xd8);
  _mm256_storeu_ps(reinterpret_cast<float*>(out), _mm256_cvtph_ps(_mm256_castsi256_si128(h)));
  _mm256_storeu_ps(reinterpret_cast<float*>(out + 32), _mm256_cvtph_ps(_mm256_extracti128_si256(h, 1)));
}
// init + (sum of the 4 signed bytes of every lane) * scale, scale as two equal int16
inline V v_add_scaled(V init, V w, V scale) {
  const __m256i ones = _mm256_set1_epi8(1);
  return v_add32(init, {_mm256_madd_epi16(_mm256_maddubs_epi16(ones, w.lo), scale.lo),
                        _mm256_madd_epi16(_mm256_maddubs_epi16(ones, w.hi), scale.hi)});
}
inline V v_times_minus_128(V v) {
  const __m256i zero = _mm256_setzero_si256();
  return {_mm256_sub_epi32(zero, _mm256_slli_epi32(v.lo, 7)), _mm256_sub_epi32(zero, _mm256_slli_epi32(v.hi, 7))};
}

inline void load_quads8(const uint8_t* const* p, int64_t o, __m256i* q) {
  const auto two = [&](int i) {
    return _mm256_inserti128_si256(
        _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p[i] + o))),
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(p[4 + i] + o)), 1);
  };
  const __m256i r0 = two(0), r1 = two(1), r2 = two(2), r3 = two(3);
  const __m256i a = _mm256_unpacklo_epi32(r0, r1), b = _mm256_unpacklo_epi32(r2, r3);
  const __m256i c = _mm256_unpackhi_epi32(r0, r1), d = _mm256_unpackhi_epi32(r2, r3);
  q[0] = _mm256_unpacklo_epi64(a, b);
  q[1] = _mm256_unpackhi_epi64(a, b);
  q[2] = _mm256_unpacklo_epi64(c, d);
  q[3] = _mm256_unpackhi_epi64(c, d);
}

inline void v_load_quads(const uint8_t* const* p, int64_t o, V* q) {
  __m256i lo[4], hi[4];
  load_quads8(p, o, lo);
  load_quads8(p + 8, o, hi);
  for (int i = 0; i < 4; i++) q[i] = {lo[i], hi[i]};
}

inline __attribute__((always_inline)) void v_prefetch(const uint8_t* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }

#include "../../body/gemm_unpack.inl"

inline __m256i broadcast32(const void* p) { return _mm256_set1_epi32(*static_cast<const int32_t*>(p)); }
inline __m256 broadcast_float(const void* p) { return _mm256_set1_ps(*static_cast<const float*>(p)); }
inline __m256 load_float(const uint8_t* p) { return _mm256_loadu_ps(reinterpret_cast<const float*>(p)); }

template <class P, int T, int Block>
struct MicroOf;
template <class P, int T, int R>
struct Micro : MicroOf<P, T, P::kBlock> {};

#include "../../body/gemm_drive.inl"

// Two places where GCC must be kept from its ideas, because there are 16 registers: it turns a chain of eight additions
// into a tree whose products all live at once, and it keeps the broadcasts of one nibble plane for the next. Both end in
// spills that halve the rate.
inline __m256i pinned(__m256i v) {
  __asm__("" : "+x"(v));
  return v;
}
inline __m256i fresh_broadcast32(const uint8_t* p) {
  __m256i v;
  __asm__ volatile("vpbroadcastd %1, %0" : "=x"(v) : "m"(*reinterpret_cast<const int32_t*>(p)));
  return v;
}

// 16-bit sums of Quads quads, [half of the rows][token row]; no sum can pass 32767 (Shape::kRun).
template <int T, int Quads, bool Signed>
inline __attribute__((always_inline)) void dot_run(__m256i (&s)[2][T], const uint8_t* w, const uint8_t* q) {
#pragma GCC unroll 8
  for (int i = 0; i < Quads; i++) {
    const __m256i w0 = load256(w + 64 * i), w1 = load256(w + 64 * i + 32);
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
      const __m256i a = fresh_broadcast32(q + t * kChunk + 4 * i);
      const __m256i p0 = Signed ? _mm256_maddubs_epi16(a, w0) : _mm256_maddubs_epi16(w0, a);
      const __m256i p1 = Signed ? _mm256_maddubs_epi16(a, w1) : _mm256_maddubs_epi16(w1, a);
      s[0][t] = pinned(i ? _mm256_add_epi16(s[0][t], p0) : p0);
      s[1][t] = pinned(i ? _mm256_add_epi16(s[1][t], p1) : p1);
    }
  }
}

// sum += 16-bit sums widened and multiplied, over one group of P::kGroupQuads quads.
template <class P, int T>
inline __attribute__((always_inline)) void dot_group(__m256i (&sum)[2][T], const uint8_t* w, const uint8_t* q,
                                                     __m256i scale0, __m256i scale1) {
  constexpr int kRun = P::kRun < P::kGroupQuads ? P::kRun : P::kGroupQuads;
#pragma GCC unroll 4
  for (int i = 0; i < P::kGroupQuads; i += kRun) {
    __m256i s[2][T];
    dot_run<T, kRun, P::kSigned>(s, w + 64 * i, q + 4 * i);
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
      sum[0][t] = _mm256_add_epi32(sum[0][t], _mm256_madd_epi16(s[0][t], scale0));
      sum[1][t] = _mm256_add_epi32(sum[1][t], _mm256_madd_epi16(s[1][t], scale1));
    }
  }
}

// 32 values without a scale: init + dot, from one plane or from the two nibble planes of 8-bit weights.
template <class P, int T>
inline __attribute__((always_inline)) void dot_plain(__m256i (&sum)[2][T], const uint8_t* w, const uint8_t* q,
                                                     const uint8_t* init) {
  using L = Tile<P>;
  const __m256i one = _mm256_set1_epi16(1);
#pragma GCC unroll 4
  for (int t = 0; t < T; t++) {
    sum[0][t] = sum[1][t] = P::kOffset ? broadcast32(init + t * 4 * L::kInits) : _mm256_setzero_si256();
  }
  dot_group<P, T>(sum, w, q, one, one);
  if constexpr (P::kPlanes == 2) {
    const __m256i sixteen = _mm256_set1_epi16(16);
    dot_group<P, T>(sum, w + 512, q, sixteen, sixteen);
  }
}

template <class P, int T>
struct MicroOf<P, T, 32> {
  static void run(const uint8_t* panel, int blocks, const uint8_t* tile, float* out, int64_t stride, bool first,
                  Fetch fetch) {
    using L = Tile<P>;
    __m256 acc[2][T];
    for (int t = 0; t < T; t++) {
      for (int h = 0; h < 2; h++) acc[h][t] = first ? _mm256_setzero_ps() : _mm256_loadu_ps(out + t * stride + 8 * h);
    }
    const uint8_t* q = tile;
    const uint8_t* word = tile + L::kInit;  // 4 bytes per block in each of the planes init, min, d
    for (int b = 0; b < blocks; b++, panel += P::kPanel, q += 32, word += 4) {
      __m256i sum[2][T];
      fetch.next();
      dot_plain<P, T>(sum, panel, q, word);
      for (int h = 0; h < 2; h++) {
        const __m256 dw = load_float(panel + P::kD + 32 * h);
        for (int t = 0; t < T; t++) {
          const __m256 da = broadcast_float(word + (L::kD - L::kInit) + t * 4 * L::kBlocks);
          acc[h][t] = _mm256_fmadd_ps(_mm256_mul_ps(dw, da), _mm256_cvtepi32_ps(sum[h][t]), acc[h][t]);
          if (P::kMins) {
            const __m256 m = load_float(panel + P::kM + 32 * h);
            const __m256 asum = broadcast_float(word + (L::kMin - L::kInit) + t * 4 * L::kMinWords);
            acc[h][t] = _mm256_fmadd_ps(_mm256_mul_ps(m, da), asum, acc[h][t]);
          }
        }
      }
    }
    for (int t = 0; t < T; t++) {
      for (int h = 0; h < 2; h++) _mm256_storeu_ps(out + t * stride + 8 * h, acc[h][t]);
    }
  }
};

template <class P, int T>
struct MicroOf<P, T, 256> {
  static void run(const uint8_t* panel, int blocks, const uint8_t* tile, float* out, int64_t stride, bool first,
                  Fetch fetch) {
    using L = Tile<P>;
    constexpr int kGroupBytes = 64 * P::kGroupQuads * P::kPlanes;
    for (int b = 0; b < blocks; b++, panel += P::kPanel) {
      const uint8_t* q = tile + 256 * b;
      const uint8_t* init = tile + L::kInit + 4 * b * (L::kInits / L::kBlocks);
      __m256i isum[2][T];
      for (int h = 0; h < 2; h++) {
        const __m256i v = P::kSigned ? load256(panel + P::kInit + 32 * h) : _mm256_setzero_si256();
        for (int t = 0; t < T; t++) isum[h][t] = v;
      }
      for (int g = 0; g < P::kGroups; g++, q += 4 * P::kGroupQuads) {
        const uint8_t* w = panel + kGroupBytes * g;
        if (P::kGroups == kFetches || g % 2 == 0) fetch.next();
        const __m256i scale0 = load256(panel + P::kScaleAt + 64 * g);
        const __m256i scale1 = load256(panel + P::kScaleAt + 64 * g + 32);
        if constexpr (P::kPlanes == 2) {  // IQ4_XS: 32-bit scales, since the sums of 8-bit weights need more than 16
          __m256i sum[2][T];
          dot_plain<P, T>(sum, w, q, init + 4 * g);
          for (int t = 0; t < T; t++) {
            isum[0][t] = _mm256_add_epi32(isum[0][t], _mm256_mullo_epi32(sum[0][t], scale0));
            isum[1][t] = _mm256_add_epi32(isum[1][t], _mm256_mullo_epi32(sum[1][t], scale1));
          }
        } else {
          dot_group<P, T>(isum, w, q, scale0, scale1);
        }
      }
      for (int t = 0; t < T; t++) {
        const __m256 da = broadcast_float(tile + L::kD + 4 * (t * L::kBlocks + b));
        const uint8_t* pairs = tile + L::kMin + 4 * (t * L::kMinWords + b * P::kMins);
        for (int h = 0; h < 2; h++) {
          const uint8_t* half = panel + 32 * h;
          float* const to = out + t * stride + 8 * h;
          __m256 acc = first && b == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(to);
          acc = _mm256_fmadd_ps(_mm256_mul_ps(load_float(half + P::kD), da), _mm256_cvtepi32_ps(isum[h][t]), acc);
          if (P::kMins) {
            __m256i msum = _mm256_setzero_si256();
            for (int i = 0; i < P::kMins; i++) {
              msum = _mm256_add_epi32(
                  msum, _mm256_madd_epi16(load256(half + P::kMinsAt + 64 * i), broadcast32(pairs + 4 * i)));
            }
            acc = _mm256_fmadd_ps(_mm256_mul_ps(load_float(half + P::kM), da), _mm256_cvtepi32_ps(msum), acc);
          }
          _mm256_storeu_ps(to, acc);
        }
      }
    }
  }
};

template <class P>
constexpr MatmulFn kGemm = gemm<P>;

#include "../../body/gemm_table.inl"

}  // namespace

// From how many token rows on this beats matvec, weights streamed from memory, one thread (docs/decisions/0004).
void fill_avx2_gemm(Kernels* k) {
  //           Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL MXFP4, Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_XS
  fill_gemm(k, {2, 2, 2, 3, 2, 3, 2, 6, 6, 3, 4, 6, 6});
  fill_avx2_gemm_float(k);
}

}  // namespace hw
