// Many-row matmul without VNNI: unsigned times signed bytes summed in 16 bits for as many quads as cannot overflow,
// then one multiply-add with the 16-bit group scale. Lanes are weight rows. The driver and the panel layout are in
// body/.
#include <stddef.h>
#include <stdint.h>

#include "../../blocks.h"
#include "../../codebooks.h"
#include "../../body/panel_avx2.inl"
#include "../../kernels.h"

namespace hw {

namespace {

#define HW_GEMM_TILE 4
constexpr int kTile = HW_GEMM_TILE;
constexpr int kPanels = 2;
constexpr bool kPremultiply = false;
constexpr bool kSixteenBit = true;
constexpr bool kSignedBytes = false;

// init + (sum of the 4 signed bytes of every lane) * scale, scale as two equal int16
inline V v_add_scaled(V init, V w, V scale) {
  return _mm256_add_epi32(init, _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), w), scale));
}
inline V v_times_minus_128(V v) { return _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_slli_epi32(v, 7)); }

#include "../../body/gemm_unpack.inl"

#include "../../body/gemm_drive.inl"

// Two places where GCC must be kept from its ideas, because there are 16 registers: it turns a chain of eight additions
// into a tree whose products all live at once, and it keeps the broadcasts of one nibble plane for the next. Both end
// in spills that halve the rate.
inline V pinned(V v) {
  __asm__("" : "+x"(v));
  return v;
}
inline V v_fresh_four(const uint8_t* p) {
  V v;
  __asm__ volatile("vpbroadcastd %1, %0" : "=x"(v) : "m"(*reinterpret_cast<const int32_t*>(p)));
  return v;
}

// 16-bit products of a quad: signed weights go with unsigned activations.
template <bool Signed>
inline V products(V w, V a) {
  return Signed ? _mm256_maddubs_epi16(a, w) : _mm256_maddubs_epi16(w, a);
}
inline V v_mul_add32(V a, V b, V c) { return _mm256_add_epi32(_mm256_mullo_epi32(a, b), c); }
inline V v_pairs(V sum, V w, V a) { return _mm256_add_epi32(sum, _mm256_madd_epi16(w, a)); }

// 16-bit sums of Quads quads, [panel][token row]; no sum can pass 32767 (Shape::kRun).
template <int T, int R, int Quads, bool Signed>
inline __attribute__((always_inline)) void dot_run(V (&s)[R][T], const uint8_t* w, const uint8_t* q) {
#pragma GCC unroll 8
  for (int i = 0; i < Quads; i++) {
    V v[R];
    for (int r = 0; r < R; r++) v[r] = v_load(w + r * kPanelBytes + kVec * i);
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
      const V a = v_fresh_four(q + t * kChunk + 4 * i);
      for (int r = 0; r < R; r++) {
        const V p = products<Signed>(v[r], a);
        s[r][t] = pinned(i ? _mm256_add_epi16(s[r][t], p) : p);
      }
    }
  }
}

// sum += 16-bit sums widened and multiplied, over one group of P::kGroupQuads quads.
template <class P, int T, int R>
inline __attribute__((always_inline)) void dot_group(V (&sum)[R][T], const uint8_t* w, const uint8_t* q,
                                                     const V (&scale)[R]) {
  constexpr int kRun = P::kRun < P::kGroupQuads ? P::kRun : P::kGroupQuads;
#pragma GCC unroll 4
  for (int i = 0; i < P::kGroupQuads; i += kRun) {
    V s[R][T];
    dot_run<T, R, kRun, P::kSigned>(s, w + kVec * i, q + 4 * i);
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
      for (int r = 0; r < R; r++) sum[r][t] = v_pairs(sum[r][t], s[r][t], scale[r]);
    }
  }
}

template <int R>
inline void fill(V (&to)[R], V v) {
  for (int r = 0; r < R; r++) to[r] = v;
}

// 32 values without a scale: init + dot, from one plane or from the two nibble planes of 8-bit weights.
template <class P, int T, int R>
inline __attribute__((always_inline)) void dot_plain(V (&sum)[R][T], const uint8_t* w, const uint8_t* q,
                                                     const uint8_t* init) {
  using L = Tile<P>;
  V scale[R];
#pragma GCC unroll 4
  for (int t = 0; t < T; t++) {
    const V v = P::kHasOffset ? v_four(init + t * 4 * L::kInits) : v_set32(0);
    for (int r = 0; r < R; r++) sum[r][t] = v;
  }
  fill(scale, _mm256_set1_epi16(1));
  dot_group<P, T, R>(sum, w, q, scale);
  if constexpr (P::kPlanes == 2) {
    fill(scale, _mm256_set1_epi16(16));
    dot_group<P, T, R>(sum, w + 8 * kVec, q, scale);
  }
}

template <class P, int T, int R>
struct MicroOf<P, T, R, 32> {
  static void run(const uint8_t* panel, int blocks, const uint8_t* tile, float* out, int64_t stride, bool first,
                  Fetch fetch) {
    using L = Tile<P>;
    F acc[R][T];
    for (int t = 0; t < T; t++) {
      for (int r = 0; r < R; r++) acc[r][t] = first ? f_zero() : f_load(out + t * stride + kLanes * r);
    }
    const uint8_t* q = tile;
    const uint8_t* word = tile + L::kInit;  // 4 bytes per block in each of the planes init, min, d
    for (int b = 0; b < blocks; b++, panel += P::kPanel, q += 32, word += 4) {
      V sum[R][T];
      fetch.next();
      dot_plain<P, T, R>(sum, panel, q, word);
      for (int r = 0; r < R; r++) {
        const F dw = f_load(panel + r * kPanelBytes + P::kD);
        for (int t = 0; t < T; t++) {
          const F da = f_set(word + (L::kD - L::kInit) + t * 4 * L::kBlocks);
          acc[r][t] = f_fma(f_mul(dw, da), f_of(sum[r][t]), acc[r][t]);
          if (P::kMins) {
            const F m = f_load(panel + r * kPanelBytes + P::kM);
            const F asum = f_set(word + (L::kMin - L::kInit) + t * 4 * L::kMinWords);
            acc[r][t] = f_fma(f_mul(m, da), asum, acc[r][t]);
          }
        }
      }
    }
    for (int t = 0; t < T; t++) {
      for (int r = 0; r < R; r++) f_store(out + t * stride + kLanes * r, acc[r][t]);
    }
  }
};

// Two scales for 32 values.
template <class P, int T, int R>
struct MicroOf<P, T, R, 16> {
  static void run(const uint8_t* panel, int blocks, const uint8_t* tile, float* out, int64_t stride, bool first,
                  Fetch fetch) {
    using L = Tile<P>;
    F acc[R][T];
    V scale[R];
    fill(scale, _mm256_set1_epi16(1));
    for (int t = 0; t < T; t++) {
      for (int r = 0; r < R; r++) acc[r][t] = first ? f_zero() : f_load(out + t * stride + kLanes * r);
    }
    for (int b = 0; b < blocks; b++, panel += P::kPanel) {
      fetch.next();
      for (int h = 0; h < 2; h++) {
        V sum[R][T];
        for (int t = 0; t < T; t++) {
          const V init = v_four(tile + L::kInit + 4 * (t * L::kInits + 2 * b + h));
          for (int r = 0; r < R; r++) sum[r][t] = init;
        }
        dot_group<P, T, R>(sum, panel + 4 * kVec * h, tile + 32 * b + 16 * h, scale);
        for (int r = 0; r < R; r++) {
          const F dw = f_load(panel + r * kPanelBytes + (h ? P::kM : P::kD));
          for (int t = 0; t < T; t++) {
            const F da = f_set(tile + L::kD + 4 * (t * L::kBlocks + b));
            acc[r][t] = f_fma(f_mul(dw, da), f_of(sum[r][t]), acc[r][t]);
          }
        }
      }
    }
    for (int t = 0; t < T; t++) {
      for (int r = 0; r < R; r++) f_store(out + t * stride + kLanes * r, acc[r][t]);
    }
  }
};

template <class P, int T, int R>
struct MicroOf<P, T, R, 256> {
  static void run(const uint8_t* panel, int blocks, const uint8_t* tile, float* out, int64_t stride, bool first,
                  Fetch fetch) {
    using L = Tile<P>;
    constexpr int kGroupBytes = kVec * P::kGroupQuads * P::kPlanes;
    for (int b = 0; b < blocks; b++, panel += P::kPanel) {
      const uint8_t* q = tile + 256 * b;
      const uint8_t* init = tile + L::kInit + 4 * b * (L::kInits / L::kBlocks);
      V isum[R][T];
      for (int r = 0; r < R; r++) {
        const V v = P::kSigned ? v_load(panel + r * kPanelBytes + P::kInit) : v_set32(0);
        for (int t = 0; t < T; t++) isum[r][t] = v;
      }
      for (int g = 0; g < P::kGroups; g++, q += 4 * P::kGroupQuads) {
        const uint8_t* w = panel + kGroupBytes * g;
        if (P::kGroups == kFetches || g % 2 == 0) fetch.next();
        V scale[R];
        for (int r = 0; r < R; r++) scale[r] = v_load(panel + r * kPanelBytes + P::kScaleAt + kVec * g);
        if constexpr (P::kPlanes == 2) {  // IQ4_XS: 32-bit scales, since the sums of 8-bit weights need more than 16
          V sum[R][T];
          dot_plain<P, T, R>(sum, w, q, init + 4 * g);
          for (int t = 0; t < T; t++) {
            for (int r = 0; r < R; r++) {
              isum[r][t] = v_mul_add32(sum[r][t], scale[r], isum[r][t]);
            }
          }
        } else {
          dot_group<P, T, R>(isum, w, q, scale);
        }
      }
      for (int t = 0; t < T; t++) {
        const F da = f_set(tile + L::kD + 4 * (t * L::kBlocks + b));
        const uint8_t* pairs = tile + L::kMin + 4 * (t * L::kMinWords + b * P::kMins);
        for (int r = 0; r < R; r++) {
          const uint8_t* scales = panel + r * kPanelBytes;
          float* const to = out + t * stride + kLanes * r;
          F acc = first && b == 0 ? f_zero() : f_load(to);
          acc = f_fma(f_mul(f_load(scales + P::kD), da), f_of(isum[r][t]), acc);
          if (P::kMins) {
            V msum = v_set32(0);
            for (int i = 0; i < P::kMins; i++) {
              msum = v_pairs(msum, v_load(scales + P::kMinsAt + kVec * i), v_four(pairs + 4 * i));
            }
            acc = f_fma(f_mul(f_load(scales + P::kM), da), f_of(msum), acc);
          }
          f_store(to, acc);
        }
      }
    }
  }
};

// One activation quad in a register serves 8 weight rows without panels and 16 with them; from three token rows on
// loading activations costs more than storing panels (docs/decisions/0017).
constexpr int kFewRows = 2, kFewAlways = 2, kFewBytes = 0;
constexpr int kPackedAhead = 0;  // no packed rows here
#include "../../body/gemm_few_pairs.inl"
#include "../../body/gemm_few.inl"

template <class P>
constexpr MatmulFn kGemm = gemm_any<P>;

#include "../../body/gemm_table.inl"

}  // namespace

// From how many token rows on this beats matvec, weights streamed from memory, one thread (docs/decisions/0004, 0017).
void fill_avx2_gemm(Kernels* k) {
  //           Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL MXFP4, Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_XS
  fill_gemm(k, {2, 2, 1, 1, 2, 3, 2, 4, 6, 2, 2, 6, 6});
  fill_gemm_grid(k, {6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6});
}

}  // namespace hw
