// Blocks of 256 values on NEON: eight groups of 32 values in their natural order, two registers of signed bytes each.
// SDOT with the activations, a multiply-add by the group's 32-bit scale, one sum across lanes per block. Unsigned
// nibbles stay as they are (0..63 fits a signed byte) and are corrected through the activation sums: `fix` holds the
// minimums, or -offset * scale, per 16 values (per 32 where kWide). IQ4_XS has signed codes and no fix.
#include <arm_neon.h>

#include "../../blocks.h"
#include "../../body/matvec_rows.inl"

#define HW_INLINE inline __attribute__((always_inline))

namespace hw {
namespace {

inline uint16_t load16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }

inline uint32_t load32(const uint8_t* p) {
  uint32_t v;
  __builtin_memcpy(&v, p, 4);
  return v;
}

inline float load_half(const uint8_t* p) {
  return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(load16(p)))), 0);
}

// Every byte shifted left by N, right by -N.
template <int N>
HW_INLINE uint8x16_t shifted(uint8x16_t v) {
  if constexpr (N > 0) {
    return vshlq_n_u8(v, N);
  } else if constexpr (N < 0) {
    return vshrq_n_u8(v, -N);
  } else {
    return v;
  }
}

// The 32 bytes at p shifted by N and masked.
template <int N>
HW_INLINE void masked(const uint8_t* p, uint8_t mask, uint8x16_t* out) {
  out[0] = vandq_u8(shifted<N>(vld1q_u8(p)), vdupq_n_u8(mask));
  out[1] = vandq_u8(shifted<N>(vld1q_u8(p + 16)), vdupq_n_u8(mask));
}

template <int N>
HW_INLINE void add_masked(const uint8_t* p, uint8_t mask, uint8x16_t* out) {
  uint8x16_t v[2];
  masked<N>(p, mask, v);
  out[0] = vorrq_u8(out[0], v[0]);
  out[1] = vorrq_u8(out[1], v[1]);
}

inline void widen(int16x8_t v, int32x4_t* out) {
  out[0] = vmovl_s16(vget_low_s16(v));
  out[1] = vmovl_high_s16(v);
}

// One scale and one minimum per 32 values: Q4_K and Q5_K.
struct PairScales {
  static constexpr bool kMin = true, kWide = true, kFix = true;
  int32x4_t scales[2];
  int16x8_t fix[1];
  explicit PairScales(const uint8_t* s) {
    const uint32_t a = load32(s), b = load32(s + 4), c = load32(s + 8);
    const uint32_t scale[2] = {a & 0x3f3f3f3f, (c & 0x0f0f0f0f) | (a >> 2 & 0x30303030)};
    const uint32_t min[2] = {b & 0x3f3f3f3f, (c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030)};
    widen(bytes(scale), scales);
    fix[0] = bytes(min);
  }
  static int16x8_t bytes(const uint32_t* v) {
    return vreinterpretq_s16_u16(vmovl_u8(vcreate_u8(v[0] | static_cast<uint64_t>(v[1]) << 32)));
  }
};

struct UnpackQ4_K : PairScales {
  static constexpr int kBlockBytes = 144, kScaleAt = 0;
  const uint8_t* qs;
  explicit UnpackQ4_K(const uint8_t* p) : PairScales(p + 4), qs(p + 16) {}
  template <int G>
  HW_INLINE void group(uint8x16_t* w) const {
    masked<G % 2 ? -4 : 0>(qs + G / 2 * 32, 15, w);
  }
};

struct UnpackQ5_K : PairScales {
  static constexpr int kBlockBytes = 176, kScaleAt = 0;
  const uint8_t* p;
  explicit UnpackQ5_K(const uint8_t* block) : PairScales(block + 4), p(block) {}
  template <int G>
  HW_INLINE void group(uint8x16_t* w) const {
    masked<G % 2 ? -4 : 0>(p + 48 + G / 2 * 32, 15, w);
    add_masked<4 - G>(p + 16, 16, w);
  }
};

// Signed scales of groups of 16, and -offset times them.
struct SignedScales {
  static constexpr bool kMin = false, kWide = false, kFix = true;
  int32x4_t scales[4];
  int16x8_t fix[2];
  SignedScales(int8x16_t s, int16_t offset) {
    const int16x8_t low = vmovl_s8(vget_low_s8(s)), high = vmovl_high_s8(s);
    widen(low, scales);
    widen(high, scales + 2);
    fix[0] = vmulq_n_s16(low, static_cast<int16_t>(-offset));
    fix[1] = vmulq_n_s16(high, static_cast<int16_t>(-offset));
  }
};

struct UnpackQ6_K : SignedScales {
  static constexpr int kBlockBytes = 210, kScaleAt = 208;
  const uint8_t* p;
  explicit UnpackQ6_K(const uint8_t* block)
      : SignedScales(vreinterpretq_s8_u8(vld1q_u8(block + 192)), 32), p(block) {}
  template <int G>
  HW_INLINE void group(uint8x16_t* w) const {
    constexpr int h = G / 4, j = G % 4;
    masked<j < 2 ? 0 : -4>(p + 64 * h + 32 * (j % 2), 15, w);
    add_masked<4 - 2 * j>(p + 128 + 32 * h, 0x30, w);
  }
};

struct UnpackQ3_K : SignedScales {
  static constexpr int kBlockBytes = 110, kScaleAt = 108;
  const uint8_t* p;
  explicit UnpackQ3_K(const uint8_t* block) : SignedScales(scales_of(block + 96), 4), p(block) {}
  // Group g: a nibble of the first 8 bytes (low ones first), two bits of byte 8 + g % 4.
  static int8x16_t scales_of(const uint8_t* s) {
    static const int32_t right[4] = {0, -2, -4, -6};
    const uint8x8_t v = vld1_u8(s);
    const uint8x16_t low = vcombine_u8(vand_u8(v, vdup_n_u8(15)), vshr_n_u8(v, 4));
    const uint8x16_t high = vreinterpretq_u8_u32(vshlq_u32(vdupq_n_u32(load32(s + 8)), vld1q_s32(right)));
    const uint8x16_t six = vorrq_u8(low, vshlq_n_u8(vandq_u8(high, vdupq_n_u8(3)), 4));
    return vsubq_s8(vreinterpretq_s8_u8(six), vdupq_n_s8(32));
  }
  template <int G>
  HW_INLINE void group(uint8x16_t* w) const {
    masked<-2 * (G % 4)>(p + 32 + G / 4 * 32, 3, w);
    add_masked<2 - G>(p, 4, w);
  }
};

struct UnpackQ2_K {
  static constexpr int kBlockBytes = 84, kScaleAt = 80;
  static constexpr bool kMin = true, kWide = false, kFix = true;
  int32x4_t scales[4];
  int16x8_t fix[2];
  const uint8_t* qs;
  explicit UnpackQ2_K(const uint8_t* p) : qs(p + 16) {
    const uint8x16_t s = vld1q_u8(p), low = vandq_u8(s, vdupq_n_u8(15)), high = vshrq_n_u8(s, 4);
    widen(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(low))), scales);
    widen(vreinterpretq_s16_u16(vmovl_high_u8(low)), scales + 2);
    fix[0] = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(high)));
    fix[1] = vreinterpretq_s16_u16(vmovl_high_u8(high));
  }
  template <int G>
  HW_INLINE void group(uint8x16_t* w) const {
    masked<-2 * (G % 4)>(qs + G / 4 * 32, 3, w);
  }
};

struct UnpackIQ4_XS {
  static constexpr int kBlockBytes = 136, kScaleAt = 0;
  static constexpr bool kMin = false, kWide = true, kFix = false;
  int32x4_t scales[2];
  int16x8_t fix[1];
  int8x16_t codes;
  const uint8_t* qs;
  explicit UnpackIQ4_XS(const uint8_t* p) : codes(vld1q_s8(kValuesIQ4NL)), qs(p + 8) {
    static const int32_t right[4] = {0, -1, -2, -3};
    const int32x4_t by2 = vshlq_n_s32(vld1q_s32(right), 1), by4 = vshlq_n_s32(by2, 1);
    const uint32_t low = load32(p + 4), high = load16(p + 2);
    for (int h = 0; h < 2; h++) {
      const uint32x4_t a = vandq_u32(vshlq_u32(vdupq_n_u32(low >> (16 * h)), by4), vdupq_n_u32(15));
      const uint32x4_t b = vandq_u32(vshlq_u32(vdupq_n_u32(high >> (8 * h)), by2), vdupq_n_u32(3));
      scales[h] = vsubq_s32(vreinterpretq_s32_u32(vorrq_u32(a, vshlq_n_u32(b, 4))), vdupq_n_s32(32));
    }
  }
  template <int G>
  HW_INLINE void group(uint8x16_t* w) const {
    const uint8x16_t v = vld1q_u8(qs + 16 * G);
    w[0] = vreinterpretq_u8_s8(vqtbl1q_s8(codes, vandq_u8(v, vdupq_n_u8(15))));
    w[1] = vreinterpretq_u8_s8(vqtbl1q_s8(codes, vshrq_n_u8(v, 4)));
  }
};

template <class Unpack>
struct RowsK {
  static constexpr int kBytes = Unpack::kBlockBytes;

  template <int T, int G>
  static HW_INLINE void group(const Unpack& u, const int8_t* const* q, int32x4_t* isum) {
    uint8x16_t w[2];
    u.template group<G>(w);
    const int8x16_t w0 = vreinterpretq_s8_u8(w[0]), w1 = vreinterpretq_s8_u8(w[1]);
    const int32x4_t zero = vdupq_n_s32(0);
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
      const int32x4_t dot = vdotq_s32(zero, w0, vld1q_s8(q[t] + 32 * G));
      const int8x16_t a1 = vld1q_s8(q[t] + 32 * G + 16);
      if constexpr (Unpack::kWide) {
        isum[t] = vmlaq_laneq_s32(isum[t], vdotq_s32(dot, w1, a1), u.scales[G / 4], G % 4);
      } else {
        isum[t] = vmlaq_laneq_s32(isum[t], dot, u.scales[G / 2], 2 * (G % 2));
        isum[t] = vmlaq_laneq_s32(isum[t], vdotq_s32(zero, w1, a1), u.scales[G / 2], 2 * (G % 2) + 1);
      }
    }
  }

  // Sum of fix times the activation sums of the block, four parts.
  static HW_INLINE int32x4_t fixed(const Unpack& u, const int16_t* sums) {
    const int16x8_t a = vld1q_s16(sums), b = vld1q_s16(sums + 8);
    if constexpr (Unpack::kWide) {
      const int16x8_t pairs = vpaddq_s16(a, b);  // at most 32 * 127
      return vmlal_high_s16(vmull_s16(vget_low_s16(u.fix[0]), vget_low_s16(pairs)), u.fix[0], pairs);
    } else {
      int32x4_t s = vmlal_high_s16(vmull_s16(vget_low_s16(u.fix[0]), vget_low_s16(a)), u.fix[0], a);
      s = vmlal_s16(s, vget_low_s16(u.fix[1]), vget_low_s16(b));
      return vmlal_high_s16(s, u.fix[1], b);
    }
  }

  template <int T>
  static void row(const uint8_t* p, int32_t cols, const ActRow* acts, float* out, int64_t out_stride) {
    float acc[T];
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) acc[t] = 0;
    for (int32_t b = 0; b < cols / 256; b++, p += kBytes) {
      for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(p + 2048 + i);
      const Unpack u(p);
      const int8_t* q[T];
      int32x4_t isum[T];
#pragma GCC unroll 4
      for (int t = 0; t < T; t++) {
        q[t] = acts[t].q + 256 * b;
        isum[t] = Unpack::kFix && !Unpack::kMin ? fixed(u, acts[t].sums + 16 * b) : vdupq_n_s32(0);
      }
      group<T, 0>(u, q, isum);
      group<T, 1>(u, q, isum);
      group<T, 2>(u, q, isum);
      group<T, 3>(u, q, isum);
      group<T, 4>(u, q, isum);
      group<T, 5>(u, q, isum);
      group<T, 6>(u, q, isum);
      group<T, 7>(u, q, isum);
      const float d = load_half(p + Unpack::kScaleAt);
      const float dmin = Unpack::kMin ? load_half(p + Unpack::kScaleAt + 2) : 0;
#pragma GCC unroll 4
      for (int t = 0; t < T; t++) {
        const float da = acts[t].d[b];
        acc[t] = __builtin_fmaf(d * da, static_cast<float>(vaddvq_s32(isum[t])), acc[t]);
        if (Unpack::kMin) {
          const int32_t msum = vaddvq_s32(fixed(u, acts[t].sums + 16 * b));
          acc[t] = __builtin_fmaf(-(dmin * da), static_cast<float>(msum), acc[t]);
        }
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) out[t * out_stride] = acc[t];
  }
};

}  // namespace

void fill_neon_matvec_k(Kernels* k) {
#define HW_KERNEL(T) set_matvec(k, T, MatvecRows<RowsK<Unpack##T>>::run);
  HW_MATVEC_K(HW_KERNEL)
}

}  // namespace hw
