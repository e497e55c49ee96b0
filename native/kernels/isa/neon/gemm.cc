// Many-row matmul with SDOT: lanes are weight rows, and the activation quad is taken by element from a register of 16
// values, so nothing is ever broadcast. Weights are signed bytes (kSignedBytes). The driver and the panel layout are in
// body/.
#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

#include "../../blocks.h"
#include "../../codebooks.h"
#include "../../kernels.h"

namespace hw {

namespace {

#define HW_GEMM_TILE 4
constexpr int kTile = HW_GEMM_TILE;
constexpr int kPanels = 1;
constexpr bool kPremultiply = true;
constexpr bool kSixteenBit = false;
constexpr bool kSignedBytes = true;

struct V {
  uint32x4_t a, b, c, d;  // weight rows 0-3, 4-7, 8-11, 12-15
};

inline uint32x4_t load4(const uint8_t* p) { return vreinterpretq_u32_u8(vld1q_u8(p)); }
inline V v_load(const uint8_t* p) { return {load4(p), load4(p + 16), load4(p + 32), load4(p + 48)}; }
inline void v_store(uint8_t* p, V v) {
  vst1q_u8(p, vreinterpretq_u8_u32(v.a));
  vst1q_u8(p + 16, vreinterpretq_u8_u32(v.b));
  vst1q_u8(p + 32, vreinterpretq_u8_u32(v.c));
  vst1q_u8(p + 48, vreinterpretq_u8_u32(v.d));
}
template <class Fn>
inline V each(Fn f, V x) {
  return {f(x.a), f(x.b), f(x.c), f(x.d)};
}
template <class Fn>
inline V each(Fn f, V x, V y) {
  return {f(x.a, y.a), f(x.b, y.b), f(x.c, y.c), f(x.d, y.d)};
}
inline V v_set32(int x) {
  const uint32x4_t v = vdupq_n_u32(static_cast<uint32_t>(x));
  return {v, v, v, v};
}
#define HW_BINARY(name, op, type)                                                                          \
  inline V name(V x, V y) {                                                                                \
    return each(                                                                                           \
        [](uint32x4_t a, uint32x4_t b) {                                                                   \
          return vreinterpretq_u32_##type(op(vreinterpretq_##type##_u32(a), vreinterpretq_##type##_u32(b))); \
        },                                                                                                 \
        x, y);                                                                                             \
  }
HW_BINARY(v_and, vandq_u8, u8)
HW_BINARY(v_or, vorrq_u8, u8)
HW_BINARY(v_xor, veorq_u8, u8)
HW_BINARY(v_add8, vaddq_u8, u8)
HW_BINARY(v_add16, vaddq_u16, u16)
HW_BINARY(v_sub16, vsubq_u16, u16)
HW_BINARY(v_mul16, vmulq_u16, u16)
HW_BINARY(v_lut, vqtbl1q_u8, u8)
#undef HW_BINARY
inline V v_add32(V x, V y) {
  return each([](uint32x4_t a, uint32x4_t b) { return vaddq_u32(a, b); }, x, y);
}
inline V v_gt32(V x, V y) {
  return each([](uint32x4_t a, uint32x4_t b) { return vcgtq_s32(vreinterpretq_s32_u32(a), vreinterpretq_s32_u32(b)); },
              x, y);
}
template <int N>
inline V v_srl(V x) {
  return each([](uint32x4_t a) { return vshrq_n_u32(a, N); }, x);
}
template <int N>
inline V v_sra(V x) {
  return each([](uint32x4_t a) { return vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_u32(a), N)); }, x);
}
template <int N>
inline V v_sll(V x) {
  return each([](uint32x4_t a) { return vshlq_n_u32(a, N); }, x);
}
template <int N>
inline V v_sll16(V x) {
  return each([](uint32x4_t a) { return vreinterpretq_u32_u16(vshlq_n_u16(vreinterpretq_u16_u32(a), N)); }, x);
}
inline V v_select(V mask, V x, V y) {
  return {vbslq_u32(mask.a, x.a, y.a), vbslq_u32(mask.b, x.b, y.b), vbslq_u32(mask.c, x.c, y.c),
          vbslq_u32(mask.d, x.d, y.d)};
}
inline V v_table(const int8_t* t) {
  const uint32x4_t v = vreinterpretq_u32_s8(vld1q_s8(t));
  return {v, v, v, v};
}
template <int I>
inline V v_spread_byte(V x) {
  static const uint8_t first[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
  const uint32x4_t index = vreinterpretq_u32_u8(vaddq_u8(vld1q_u8(first), vdupq_n_u8(I)));
  return v_lut(x, {index, index, index, index});
}
inline V v_add_16_where(V q, V x, V y) {
  const V bit = each(
      [](uint32x4_t a, uint32x4_t b) {
        const uint8x16_t any = vtstq_u8(vreinterpretq_u8_u32(a), vreinterpretq_u8_u32(b));
        return vreinterpretq_u32_u8(vandq_u8(any, vdupq_n_u8(16)));
      },
      x, y);
  return v_or(q, bit);
}
inline V v_negate_where(V v, V x, V y) {
  const V any = each(
      [](uint32x4_t a, uint32x4_t b) {
        return vreinterpretq_u32_u8(vtstq_u8(vreinterpretq_u8_u32(a), vreinterpretq_u8_u32(b)));
      },
      x, y);
  const V negated = each([](uint32x4_t a) { return vreinterpretq_u32_s8(vnegq_s8(vreinterpretq_s8_u32(a))); }, v);
  return v_select(any, negated, v);
}
inline V v_gather(const uint32_t* book, V index) {
  return each(
      [book](uint32x4_t i) {
        const uint32_t entries[4] = {book[vgetq_lane_u32(i, 0)], book[vgetq_lane_u32(i, 1)], book[vgetq_lane_u32(i, 2)],
                                     book[vgetq_lane_u32(i, 3)]};
        return vld1q_u32(entries);
      },
      index);
}
inline void v_half(uint8_t* out, V v) {
  const auto put = [](uint8_t* to, uint32x4_t a) {
    vst1q_u8(to, vreinterpretq_u8_f32(vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(a)))));
  };
  put(out, v.a);
  put(out + 16, v.b);
  put(out + 32, v.c);
  put(out + 48, v.d);
}
// The form with 16-bit sums is not used here; the shared body names these in branches that are never taken.
inline V v_add_scaled(V init, V, V) { return init; }
inline V v_times_minus_128(V v) { return v; }

// 16 bytes of four rows, transposed.
inline void load_quads4(const uint8_t* const* p, int64_t o, uint32x4_t* q) {
  const uint32x4_t r0 = load4(p[0] + o), r1 = load4(p[1] + o), r2 = load4(p[2] + o), r3 = load4(p[3] + o);
  const auto u64 = [](uint32x4_t v) { return vreinterpretq_u64_u32(v); };
  const uint64x2_t a = u64(vtrn1q_u32(r0, r1)), b = u64(vtrn2q_u32(r0, r1));
  const uint64x2_t c = u64(vtrn1q_u32(r2, r3)), d = u64(vtrn2q_u32(r2, r3));
  q[0] = vreinterpretq_u32_u64(vzip1q_u64(a, c));
  q[1] = vreinterpretq_u32_u64(vzip1q_u64(b, d));
  q[2] = vreinterpretq_u32_u64(vzip2q_u64(a, c));
  q[3] = vreinterpretq_u32_u64(vzip2q_u64(b, d));
}

inline void v_load_quads(const uint8_t* const* p, int64_t o, V* q) {
  uint32x4_t a[4], b[4], c[4], d[4];
  load_quads4(p, o, a);
  load_quads4(p + 4, o, b);
  load_quads4(p + 8, o, c);
  load_quads4(p + 12, o, d);
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) q[i] = {a[i], b[i], c[i], d[i]};
}

inline __attribute__((always_inline)) void v_prefetch(const uint8_t* p) { __builtin_prefetch(p, 0, 2); }

#include "../../body/gemm_unpack.inl"

inline int32x4_t load_ints(const uint8_t* p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }
inline float32x4_t load_floats(const uint8_t* p) { return vreinterpretq_f32_u8(vld1q_u8(p)); }
inline int32x4_t broadcast32(const uint8_t* p) { return vld1q_dup_s32(reinterpret_cast<const int32_t*>(p)); }
inline float load_float(const uint8_t* p) { return *reinterpret_cast<const float*>(p); }

#include "../../body/gemm_drive.inl"

#undef HW_INLINE
#define HW_INLINE inline __attribute__((always_inline))

// sum[h][t] += 4 H weight rows times T token rows over one quad, element I of the activations a.
template <int I, int T, int H>
HW_INLINE void dot_quad(int32x4_t (&sum)[H][T], const uint8_t* w, const int8x16_t* a) {
  int8x16_t v[H];
#pragma GCC unroll 4
  for (int h = 0; h < H; h++) v[h] = vreinterpretq_s8_u8(vld1q_u8(w + 64 * I + 16 * h));
#pragma GCC unroll 4
  for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
    for (int h = 0; h < H; h++) sum[h][t] = vdotq_laneq_s32(sum[h][t], v[h], a[t], I);
  }
}

// w: [quad] V of the first of the 4 H rows; q: token rows. Quads is a multiple of 4.
template <int T, int H, int Quads>
HW_INLINE void dot_quads(int32x4_t (&sum)[H][T], const uint8_t* w, const uint8_t* q) {
#pragma GCC unroll 2
  for (int i = 0; i < Quads; i += 4, w += 256, q += 16) {
    int8x16_t a[T];
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) a[t] = vreinterpretq_s8_u8(vld1q_u8(q + t * kChunk));
    dot_quad<0>(sum, w, a);
    dot_quad<1>(sum, w, a);
    dot_quad<2>(sum, w, a);
    dot_quad<3>(sum, w, a);
  }
}

// One step of the chains of four weight rows with one token row. The sums wait in `out`: integer sums and weights fill
// the registers.
HW_INLINE void chain_step(float* to, bool first, const uint8_t* dw, float da, int32x4_t isum) {
  const float32x4_t acc = first ? vdupq_n_f32(0) : vld1q_f32(to);
  vst1q_f32(to, vfmaq_f32(acc, vmulq_n_f32(load_floats(dw), da), vcvtq_f32_s32(isum)));
}

template <class P, int T, int R>
struct MicroOf<P, T, R, 32> {
  static void run(const uint8_t* panel, int blocks, const uint8_t* tile, float* out, int64_t stride, bool first,
                  Fetch fetch) {
    using L = Tile<P>;
    const uint8_t* word = tile + L::kInit;  // 4 bytes per block in each of the planes init, min, d
    for (int b = 0; b < blocks; b++, panel += P::kPanel, word += 4) {
      int32x4_t sum[4][T];
      fetch.next();
#pragma GCC unroll 4
      for (int t = 0; t < T; t++) {
        const int32x4_t init = P::kHasOffset ? broadcast32(word + t * 4 * L::kInits) : vdupq_n_s32(0);
#pragma GCC unroll 4
        for (int h = 0; h < 4; h++) sum[h][t] = init;
      }
      dot_quads<T, 4, 8>(sum, panel, tile + 32 * b);
#pragma GCC unroll 4
      for (int t = 0; t < T; t++) {
        const float da = load_float(word + (L::kD - L::kInit) + t * 4 * L::kBlocks);
        const float asum = P::kMins ? load_float(word + (L::kMin - L::kInit) + t * 4 * L::kMinWords) : 0;
#pragma GCC unroll 4
        for (int h = 0; h < 4; h++) {
          float* const to = out + t * stride + 4 * h;
          chain_step(to, first && b == 0, panel + P::kD + 16 * h, da, sum[h][t]);
          if (P::kMins) {
            const float32x4_t m = vmulq_n_f32(load_floats(panel + P::kM + 16 * h), da);
            vst1q_f32(to, vfmaq_n_f32(vld1q_f32(to), m, asum));
          }
        }
      }
    }
  }
};

// Two scales for 32 values.
template <class P, int T, int R>
struct MicroOf<P, T, R, 16> {
  static void run(const uint8_t* panel, int blocks, const uint8_t* tile, float* out, int64_t stride, bool first,
                  Fetch fetch) {
    using L = Tile<P>;
    for (int b = 0; b < blocks; b++, panel += P::kPanel) {
      fetch.next();
      for (int half = 0; half < 2; half++) {
        int32x4_t sum[4][T];
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) {
          const int32x4_t init = broadcast32(tile + L::kInit + 4 * (t * L::kInits + 2 * b + half));
#pragma GCC unroll 4
          for (int h = 0; h < 4; h++) sum[h][t] = init;
        }
        dot_quads<T, 4, 4>(sum, panel + 4 * kVec * half, tile + 32 * b + 16 * half);
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) {
          const float da = load_float(tile + L::kD + 4 * (t * L::kBlocks + b));
#pragma GCC unroll 4
          for (int h = 0; h < 4; h++) {
            chain_step(out + t * stride + 4 * h, first && b == 0 && half == 0, panel + (half ? P::kM : P::kD) + 16 * h,
                       da, sum[h][t]);
          }
        }
      }
    }
  }
};

template <class P, int T, int R>
struct MicroOf<P, T, R, 256> {
  static constexpr bool kGrouped = P::kGroups > 0;
  static constexpr int kH = kGrouped ? 2 : 4;  // group sums and block sums together must fit the registers

  // Sums of one block with 4 kH weight rows, whose panel begins at w.
  static HW_INLINE void block(const uint8_t* w, const uint8_t* q, const uint8_t* init, int32x4_t (&isum)[kH][T]) {
    using L = Tile<P>;
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
      const int32x4_t v = !kGrouped && P::kHasOffset ? broadcast32(init + t * 4 * L::kInits) : vdupq_n_s32(0);
#pragma GCC unroll 4
      for (int h = 0; h < kH; h++) isum[h][t] = v;
    }
    if constexpr (!kGrouped) {
      for (int g = 0; g < 8; g++) dot_quads<T, kH, 8>(isum, w + 512 * g, q + 32 * g);
    } else {
      for (int g = 0; g < P::kGroups; g++) {
        int32x4_t sum[kH][T];
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) {
          const int32x4_t v = P::kHasOffset ? broadcast32(init + t * 4 * L::kInits + 4 * g) : vdupq_n_s32(0);
#pragma GCC unroll 4
          for (int h = 0; h < kH; h++) sum[h][t] = v;
        }
        dot_quads<T, kH, P::kGroupQuads>(sum, w + 64 * P::kGroupQuads * g, q + 4 * P::kGroupQuads * g);
#pragma GCC unroll 4
        for (int h = 0; h < kH; h++) {
          const int32x4_t scale = load_ints(w + P::kScaleAt + 64 * g + 16 * h);
#pragma GCC unroll 4
          for (int t = 0; t < T; t++) isum[h][t] = vmlaq_s32(isum[h][t], sum[h][t], scale);
        }
      }
    }
  }

  // Sum of minimum times activation sum of four rows; both lie in pairs of int16.
  static HW_INLINE int32x4_t minimums(const uint8_t* mins, const uint8_t* pairs) {
    int32x4_t low = vdupq_n_s32(0), high = vdupq_n_s32(0);
#pragma GCC unroll 8
    for (int i = 0; i < P::kMins; i++) {
      const int16x8_t m = vreinterpretq_s16_u8(vld1q_u8(mins + 64 * i));
      const int16x8_t a = vreinterpretq_s16_s32(broadcast32(pairs + 4 * i));
      low = vmlal_s16(low, vget_low_s16(m), vget_low_s16(a));
      high = vmlal_high_s16(high, m, a);
    }
    return vpaddq_s32(low, high);
  }

  static void run(const uint8_t* panel, int blocks, const uint8_t* tile, float* out, int64_t stride, bool first,
                  Fetch fetch) {
    using L = Tile<P>;
    for (int b = 0; b < blocks; b++, panel += P::kPanel) {
      const uint8_t* init = tile + L::kInit + 4 * b * (L::kInits / L::kBlocks);
      for (int h0 = 0; h0 < 4; h0 += kH) {
        for (int i = 0; i < kFetches * kH / 4; i++) fetch.next();
        const uint8_t* w = panel + 16 * h0;
        int32x4_t isum[kH][T];
        block(w, tile + 256 * b, init, isum);
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) {
          const float da = load_float(tile + L::kD + 4 * (t * L::kBlocks + b));
          const uint8_t* pairs = tile + L::kMin + 4 * (t * L::kMinWords + b * P::kMins);
#pragma GCC unroll 4
          for (int h = 0; h < kH; h++) {
            float* const to = out + t * stride + 4 * (h0 + h);
            chain_step(to, first && b == 0, w + P::kD + 16 * h, da, isum[h][t]);
            if (P::kMins) chain_step(to, false, w + P::kM + 16 * h, da, minimums(w + P::kMinsAt + 16 * h, pairs));
          }
        }
      }
    }
  }
};

template <class P>
constexpr MatmulFn kGemm = gemm<P>;

#include "../../body/gemm_table.inl"

}  // namespace

// From how many token rows on this should beat matvec: the figures of AVX-512, whose panels are the same. Not measured.
void fill_neon_gemm(Kernels* k) {
  //           Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 IQ4_NL MXFP4, Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_XS
  fill_gemm(k, {2, 2, 2, 2, 2, 3, 2, 4, 6, 4, 4, 6, 3});
  fill_gemm_grid(k, {6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6});
}

}  // namespace hw
