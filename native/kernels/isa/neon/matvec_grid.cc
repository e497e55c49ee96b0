// Blocks of 256 values with code books, and the ternary ones, on NEON: signed bytes, two registers for 32 values, for
// SDOT as in matvec_k.cc. Entries are loaded one by one.
#include <arm_neon.h>

#include "../../codebooks.h"
#include "../../body/matvec_rows.inl"

#define HW_INLINE inline __attribute__((always_inline))

namespace hw {
namespace {

inline uint32_t load16(const uint8_t* p) { return static_cast<uint32_t>(p[0] | p[1] << 8); }

inline uint32_t load32(const uint8_t* p) {
  uint32_t v;
  __builtin_memcpy(&v, p, 4);
  return v;
}

inline float half_of(uint32_t bits) {
  return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(static_cast<uint16_t>(bits)))), 0);
}

inline int8x16_t two(uint64_t a, uint64_t b) {
  return vreinterpretq_s8_u64(vcombine_u64(vcreate_u64(a), vcreate_u64(b)));
}
inline uint64_t pair(const uint32_t* book, uint32_t a, uint32_t b) {
  return book[a] | static_cast<uint64_t>(book[b]) << 32;
}

// 16 values with a minus where the bit of `signs` is set.
inline int8x16_t turned(int8x16_t v, uint32_t signs) {
  static const uint8_t bits[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t spread =
      vcombine_u8(vdup_n_u8(static_cast<uint8_t>(signs)), vdup_n_u8(static_cast<uint8_t>(signs >> 8)));
  return vbslq_s8(vtstq_u8(spread, vld1q_u8(bits)), vnegq_s8(v), v);
}

// Group g of 32 values: w[2] and the scales of its halves.
struct UnpackIQ2_XXS {
  static constexpr int kBlockBytes = 66;
  static float scale(const uint8_t* p) { return half_of(load16(p)) * 0.125f; }
  static HW_INLINE void group(const uint8_t* p, int g, int8x16_t* w, int32_t* s) {
    const uint8_t* q = p + 2 + 8 * g;
    const uint32_t word = load32(q + 4);
    const auto signs = [word](int l) { return static_cast<uint32_t>(kEvenSigns.entry[word >> (7 * l) & 127]); };
    const uint64_t* e = kGridIQ2_XXS.entry;
    w[0] = turned(two(e[q[0]], e[q[1]]), signs(0) | signs(1) << 8);
    w[1] = turned(two(e[q[2]], e[q[3]]), signs(2) | signs(3) << 8);
    s[0] = s[1] = static_cast<int32_t>(2 * (word >> 28) + 1);
  }
};

struct UnpackIQ2_XS {
  static constexpr int kBlockBytes = 74;
  static float scale(const uint8_t* p) { return half_of(load16(p)) * 0.125f; }
  static HW_INLINE void group(const uint8_t* p, int g, int8x16_t* w, int32_t* s) {
    const uint64_t* e = kGridIQ2_XS.entry;
    for (int h = 0; h < 2; h++) {
      const uint32_t a = load16(p + 2 + 8 * g + 4 * h), b = load16(p + 4 + 8 * g + 4 * h);
      w[h] = turned(two(e[a & 511], e[b & 511]),
                    kEvenSigns.entry[a >> 9] | static_cast<uint32_t>(kEvenSigns.entry[b >> 9]) << 8);
      s[h] = 2 * (p[66 + g] >> (4 * h) & 15) + 1;
    }
  }
};

struct UnpackIQ2_S {
  static constexpr int kBlockBytes = 82;
  static float scale(const uint8_t* p) { return half_of(load16(p)) * 0.125f; }
  static HW_INLINE void group(const uint8_t* p, int g, int8x16_t* w, int32_t* s) {
    const uint64_t* e = kGridIQ2_S.entry;
    const uint8_t* q = p + 2 + 4 * g;
    const uint32_t high = p[66 + g];
    for (int h = 0; h < 2; h++) {
      const uint32_t a = q[2 * h] | (high >> (4 * h) & 3) << 8, b = q[2 * h + 1] | (high >> (4 * h + 2) & 3) << 8;
      w[h] = turned(two(e[a], e[b]), load16(p + 34 + 4 * g + 2 * h));
      s[h] = 2 * (p[74 + g] >> (4 * h) & 15) + 1;
    }
  }
};

struct UnpackIQ3_XXS {
  static constexpr int kBlockBytes = 98;
  static float scale(const uint8_t* p) { return half_of(load16(p)) * 0.25f; }
  static HW_INLINE void group(const uint8_t* p, int g, int8x16_t* w, int32_t* s) {
    const uint8_t* q = p + 2 + 8 * g;
    const uint32_t word = load32(p + 66 + 4 * g);
    const auto signs = [word](int l) { return static_cast<uint32_t>(kEvenSigns.entry[word >> (7 * l) & 127]); };
    const uint32_t* e = kGridIQ3_XXS.entry;
    w[0] = turned(two(pair(e, q[0], q[1]), pair(e, q[2], q[3])), signs(0) | signs(1) << 8);
    w[1] = turned(two(pair(e, q[4], q[5]), pair(e, q[6], q[7])), signs(2) | signs(3) << 8);
    s[0] = s[1] = static_cast<int32_t>(2 * (word >> 28) + 1);
  }
};

struct UnpackIQ3_S {
  static constexpr int kBlockBytes = 110;
  static float scale(const uint8_t* p) { return half_of(load16(p)); }
  static HW_INLINE void group(const uint8_t* p, int g, int8x16_t* w, int32_t* s) {
    const uint8_t* q = p + 2 + 8 * g;
    const uint32_t high = p[66 + g];
    const auto at = [q, high](int v) { return q[v] | (high >> v & 1) << 8; };
    const uint32_t* e = kGridIQ3_S.entry;
    w[0] = turned(two(pair(e, at(0), at(1)), pair(e, at(2), at(3))), load16(p + 74 + 4 * g));
    w[1] = turned(two(pair(e, at(4), at(5)), pair(e, at(6), at(7))), load16(p + 76 + 4 * g));
    s[0] = s[1] = 2 * (p[106 + g / 2] >> (4 * (g % 2)) & 15) + 1;
  }
};

// 8 (entry - 1) +- 1: entries are 0 to 2.
inline int8x16_t shifted(uint64_t a, uint64_t b, bool minus_a, bool minus_b) {
  const int8x16_t shift = vcombine_s8(vdup_n_s8(minus_a ? -9 : -7), vdup_n_s8(minus_b ? -9 : -7));
  return vaddq_s8(vshlq_n_s8(two(a, b), 3), shift);
}

struct UnpackIQ1_S {
  static constexpr int kBlockBytes = 50;
  static float scale(const uint8_t* p) { return half_of(load16(p)) * 0.125f; }
  static HW_INLINE void group(const uint8_t* p, int g, int8x16_t* w, int32_t* s) {
    const uint8_t* q = p + 2 + 4 * g;
    const uint32_t word = load16(p + 34 + 2 * g);
    const uint64_t* e = kGridIQ1.entry;
    const bool minus = word >> 15 != 0;
    const auto at = [q, word](int l) { return q[l] | (word >> (3 * l) & 7) << 8; };
    w[0] = shifted(e[at(0)], e[at(1)], minus, minus);
    w[1] = shifted(e[at(2)], e[at(3)], minus, minus);
    s[0] = s[1] = static_cast<int32_t>(2 * (word >> 12 & 7) + 1);
  }
};

struct UnpackIQ1_M {
  static constexpr int kBlockBytes = 56;
  static float scale(const uint8_t* p) {
    uint32_t bits = 0;
    for (int i = 0; i < 4; i++) bits |= static_cast<uint32_t>(p[49 + 2 * i] >> 4) << (4 * i);
    return half_of(bits) * 0.125f;
  }
  static HW_INLINE void group(const uint8_t* p, int g, int8x16_t* w, int32_t* s) {
    const uint64_t* e = kGridIQ1.entry;
    const uint32_t word = load16(p + 48 + 2 * (g / 2));
    for (int h = 0; h < 2; h++) {
      const uint32_t both = p[32 + 2 * g + h];
      const uint8_t* q = p + 4 * g + 2 * h;
      w[h] = shifted(e[q[0] | (both << 8 & 0x700)], e[q[1] | (both << 4 & 0x700)], (both & 8) != 0, (both & 128) != 0);
      s[h] = static_cast<int32_t>(2 * (word >> (3 * (2 * (g % 2) + h)) & 7) + 1);
    }
  }
};

struct UnpackTQ2_0 {
  static constexpr int kBlockBytes = 66;
  static float scale(const uint8_t* p) { return half_of(load16(p + 64)); }
  static HW_INLINE void group(const uint8_t* p, int g, int8x16_t* w, int32_t* s) {
    const int8x16_t right = vdupq_n_s8(static_cast<int8_t>(-2 * (g % 4)));
    for (int h = 0; h < 2; h++) {
      const uint8x16_t v = vshlq_u8(vld1q_u8(p + g / 4 * 32 + 16 * h), right);
      w[h] = vsubq_s8(vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(3))), vdupq_n_s8(1));
    }
    s[0] = s[1] = 1;
  }
};

struct UnpackTQ1_0 {
  static constexpr int kBlockBytes = 54;
  static float scale(const uint8_t* p) { return half_of(load16(p + 52)); }
  // The first digit to the base of 3 after multiplication with a power of 3 in each byte, minus 1.
  static int8x16_t digit(uint8x16_t bytes, uint8x16_t powers) {
    const uint8x16_t rest = vmulq_u8(bytes, powers);
    return vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(vhaddq_u8(rest, vshrq_n_u8(rest, 1)), 6)), vdupq_n_s8(1));
  }
  static HW_INLINE void group(const uint8_t* p, int g, int8x16_t* w, int32_t* s) {
    static const uint8_t kPowers[5] = {1, 3, 9, 27, 81};
    static const uint8_t kLast[16] = {1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27};
    for (int h = 0; h < 2; h++) {
      if (g < 5) {
        w[h] = digit(vld1q_u8(p + 16 * h), vdupq_n_u8(kPowers[g]));
      } else if (g < 7 || h == 0) {
        w[h] = digit(vld1q_u8(p + 32), vdupq_n_u8(kPowers[2 * (g - 5) + h]));
      } else {
        w[h] = digit(vreinterpretq_u8_u32(vdupq_n_u32(load32(p + 48))), vld1q_u8(kLast));
      }
    }
    s[0] = s[1] = 1;
  }
};

template <class Unpack>
struct RowsGrid {
  template <int T>
  static void row(const uint8_t* p, int32_t cols, const ActRow* acts, float* out, int64_t out_stride) {
    float acc[T];
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) acc[t] = 0;
    for (int32_t b = 0; b < cols / 256; b++, p += Unpack::kBlockBytes) {
      for (int i = 0; i < Unpack::kBlockBytes; i += 64) __builtin_prefetch(p + 2048 + i);
      int32x4_t isum[T];
#pragma GCC unroll 4
      for (int t = 0; t < T; t++) isum[t] = vdupq_n_s32(0);
#pragma GCC unroll 8
      for (int g = 0; g < 8; g++) {
        int8x16_t w[2];
        int32_t s[2];
        Unpack::group(p, g, w, s);
#pragma GCC unroll 4
        for (int t = 0; t < T; t++) {
          const int8_t* q = acts[t].q + 256 * b + 32 * g;
          isum[t] = vmlaq_n_s32(isum[t], vdotq_s32(vdupq_n_s32(0), w[0], vld1q_s8(q)), s[0]);
          isum[t] = vmlaq_n_s32(isum[t], vdotq_s32(vdupq_n_s32(0), w[1], vld1q_s8(q + 16)), s[1]);
        }
      }
      const float d = Unpack::scale(p);
#pragma GCC unroll 4
      for (int t = 0; t < T; t++)
        acc[t] = __builtin_fmaf(d * acts[t].d[b], static_cast<float>(vaddvq_s32(isum[t])), acc[t]);
    }
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) out[t * out_stride] = acc[t];
  }
};

}  // namespace

void fill_neon_matvec_grid(Kernels* k) {
#define HW_KERNEL(T) set_matvec(k, T, MatvecRows<RowsGrid<Unpack##T>>::run);
  HW_MATVEC_SIGNED(HW_KERNEL)
  HW_MATVEC_OFFSET(HW_KERNEL)
  HW_MATVEC_TERNARY(HW_KERNEL)
}

}  // namespace hw
