// Blocks of 32 values on NEON, 4 blocks at a time: a block is two registers of signed bytes, SDOT leaves four partial
// sums of each block, and pairwise adds leave the four block sums in order. Nibbles stay unsigned (0..31 fits a signed
// byte); what that adds is taken off through the activation sums. Codebooks and Q8_0 are signed as they are.
#include <arm_neon.h>

#include "../../blocks.h"
#include "../../body/matvec_q32.inl"

namespace hw {
namespace {

struct Neon {
  static constexpr int kChunk = 4;
  static constexpr int kHalfDistance = 16;
  typedef float32x4_t Floats;

  static int64_t half_at(int32_t b) { return static_cast<int64_t>(b) * 32; }  // natural order
  static void copy16(const int8_t* from, int8_t* to) { vst1q_s8(to, vld1q_s8(from)); }
  static void zero16(int8_t* to) { vst1q_s8(to, vdupq_n_s8(0)); }
  template <int64_t kBytes>
  static void prefetch(const uint8_t* p) {
    for (int64_t i = 0; i < kBytes; i += 64) __builtin_prefetch(p + 2048 + i);
  }
  static float32x4_t load(const float* p) { return vld1q_f32(p); }
  static void store(float* p, float32x4_t v) { vst1q_f32(p, v); }
  static float32x4_t mul(float32x4_t a, float32x4_t b) { return vmulq_f32(a, b); }
  static constexpr int kLanes = 4;
  typedef float32x4_t Lanes;
  static float32x4_t load_lanes(const float* p) { return vld1q_f32(p); }
  static void store_lanes(float* p, float32x4_t v) { vst1q_f32(p, v); }
  static float32x4_t broadcast(const float* p) { return vld1q_dup_f32(p); }
  static float32x4_t fma(float32x4_t a, float32x4_t b, float32x4_t c) { return vfmaq_f32(c, a, b); }
  // Four floats of each of four rows to four registers of one float per row.
  template <class Row>
  static void transpose4(Row row, float32x4_t* out) {
    const float32x4_t r0 = vld1q_f32(row(0)), r1 = vld1q_f32(row(1)), r2 = vld1q_f32(row(2)), r3 = vld1q_f32(row(3));
    const auto f64 = [](float32x4_t v) { return vreinterpretq_f64_f32(v); };
    const float64x2_t a = f64(vtrn1q_f32(r0, r1)), b = f64(vtrn2q_f32(r0, r1));
    const float64x2_t c = f64(vtrn1q_f32(r2, r3)), d = f64(vtrn2q_f32(r2, r3));
    out[0] = vreinterpretq_f32_f64(vzip1q_f64(a, c));
    out[1] = vreinterpretq_f32_f64(vzip1q_f64(b, d));
    out[2] = vreinterpretq_f32_f64(vzip2q_f64(a, c));
    out[3] = vreinterpretq_f32_f64(vzip2q_f64(b, d));
  }
};

struct Chunk4 {
  int8x16_t x[4], y[4];  // values 0..15 and 16..31 of each block
  float32x4_t d, m;
};

inline uint16_t load16(const uint8_t* p) { return static_cast<uint16_t>(p[0] | p[1] << 8); }

template <int kBytes>
inline float32x4_t load_halves(const uint8_t* p) {
  uint16x4_t h = vdup_n_u16(load16(p));
  h = vset_lane_u16(load16(p + kBytes), h, 1);
  h = vset_lane_u16(load16(p + 2 * kBytes), h, 2);
  h = vset_lane_u16(load16(p + 3 * kBytes), h, 3);
  return vcvt_f32_f16(vreinterpret_f16_u16(h));
}

inline float32x4_t dot_chunk(const Chunk4& u, const int8_t* q, const int32_t* fix, bool offset) {
  int32x4_t s[4];
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {
    s[k] = vdotq_s32(vdotq_s32(vdupq_n_s32(0), u.x[k], vld1q_s8(q + 32 * k)), u.y[k], vld1q_s8(q + 32 * k + 16));
  }
  int32x4_t sum = vpaddq_s32(vpaddq_s32(s[0], s[1]), vpaddq_s32(s[2], s[3]));
  if (offset) sum = vaddq_s32(sum, vld1q_s32(fix));
  return vcvtq_f32_s32(sum);
}

enum class Book { kNone, kIQ4NL, kMXFP4 };

// kHigh: where the fifth bits lie (0: none), kAt: where the nibbles do.
template <int kBytes, int kHigh, int kAt, bool kHasMin, int kShift, Book kBook>
struct Nibbles {
  typedef Neon Isa;
  typedef Chunk4 Chunk;
  static constexpr int kBlockBytes = kBytes;
  static constexpr bool kMin = kHasMin;
  static constexpr int kOffset = kShift;

  static int8x16_t value(uint8x16_t nibble) {
    if (kBook == Book::kNone) return vreinterpretq_s8_u8(nibble);
    return vqtbl1q_s8(vld1q_s8(kBook == Book::kIQ4NL ? kValuesIQ4NL : kValuesMXFP4), nibble);
  }

  // Bit i of the 16 bits at p, as 16 in byte i.
  static uint8x16_t high_bits(const uint8_t* p) {
    const uint8x8_t bit = vcreate_u8(0x8040201008040201ull);
    const uint8x16_t spread = vcombine_u8(vdup_n_u8(p[0]), vdup_n_u8(p[1]));
    return vandq_u8(vtstq_u8(spread, vcombine_u8(bit, bit)), vdupq_n_u8(16));
  }

  static void unpack_scales(const uint8_t* p, Chunk4& u) {
    if (kBook == Book::kMXFP4) {
      const uint32_t bytes[4] = {p[0], p[kBytes], p[2 * kBytes], p[3 * kBytes]};
      const uint32x4_t e = vld1q_u32(bytes);
      // 2^(e - 128): the exponent field is e - 1, and 0 and 1 are the subnormals 2^-128 and 2^-127.
      const uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
      const uint32x4_t tiny = vaddq_u32(vdupq_n_u32(0x200000), vshlq_n_u32(e, 21));
      u.d = vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), tiny, normal));
    } else {
      u.d = load_halves<kBytes>(p);
      if (kMin) u.m = load_halves<kBytes>(p + 2);
    }
  }

  static void unpack(const uint8_t* p, Chunk4& u) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
      const uint8_t* block = p + k * kBytes;
      const uint8x16_t qs = vld1q_u8(block + kAt);
      uint8x16_t x = vandq_u8(qs, vdupq_n_u8(15)), y = vshrq_n_u8(qs, 4);
      if (kHigh) {
        x = vorrq_u8(x, high_bits(block + kHigh));
        y = vorrq_u8(y, high_bits(block + kHigh + 2));
      }
      u.x[k] = value(x);
      u.y[k] = value(y);
    }
    unpack_scales(p, u);
  }

  static float32x4_t dot(const Chunk4& u, const int8_t* q, const int32_t* fix) {
    return dot_chunk(u, q, fix, kShift != 0);
  }
};

struct KindQ8_0 {
  typedef Neon Isa;
  typedef Chunk4 Chunk;
  static constexpr int kBlockBytes = 34;
  static constexpr bool kMin = false;
  static constexpr int kOffset = 0;

  static void unpack(const uint8_t* p, Chunk4& u) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
      u.x[k] = vreinterpretq_s8_u8(vld1q_u8(p + 34 * k + 2));
      u.y[k] = vreinterpretq_s8_u8(vld1q_u8(p + 34 * k + 18));
    }
    u.d = load_halves<34>(p);
  }

  static float32x4_t dot(const Chunk4& u, const int8_t* q, const int32_t* fix) { return dot_chunk(u, q, fix, false); }
};

typedef Nibbles<18, 0, 2, false, 8, Book::kNone> KindQ4_0;
typedef Nibbles<20, 0, 4, true, 0, Book::kNone> KindQ4_1;
typedef Nibbles<22, 2, 6, false, 16, Book::kNone> KindQ5_0;
typedef Nibbles<24, 4, 8, true, 0, Book::kNone> KindQ5_1;
typedef Nibbles<18, 0, 2, false, 0, Book::kIQ4NL> KindIQ4_NL;
typedef Nibbles<17, 0, 1, false, 0, Book::kMXFP4> KindMXFP4;

}  // namespace

void fill_neon_matvec_q32(Kernels* k) {
#define HW_KERNEL(T) set_matvec(k, T, MatvecQ32<Kind##T>::run);
  HW_MATVEC_Q32(HW_KERNEL)
}

}  // namespace hw
