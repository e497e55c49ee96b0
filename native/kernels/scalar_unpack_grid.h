// Blocks of the types with code books and of the ternary ones, as scalar_unpack.h has the others. Scales that the
// format halves or quarters are taken whole and d is made smaller instead; the eighth of IQ1 makes its values eight
// times as large.
#pragma once
#include "codebooks.h"
#include "scalar_unpack.h"

namespace hw {
namespace {

inline uint32_t word_at(const uint8_t* p) {
  uint32_t word;
  __builtin_memcpy(&word, p, 4);
  return word;
}

// `n` values of an entry, minus where the bit of `signs` is set.
inline void put_signed(uint64_t entry, int n, uint32_t signs, int8_t* q) {
  for (int k = 0; k < n; k++) {
    const int value = static_cast<int>(entry >> (8 * k) & 255);
    q[k] = static_cast<int8_t>(signs >> k & 1 ? -value : value);
  }
}

inline void set_scale32(Unpacked256& u, int g, uint32_t scale) {
  u.scale[2 * g] = u.scale[2 * g + 1] = static_cast<int16_t>(scale);
}

inline void unpack(const BlockIQ2_XXS& b, Unpacked256& u) {
  u.d = half_to_float(b.d) * 0.125f;
  for (int g = 0; g < 8; g++) {
    const uint32_t word = word_at(b.qs + 8 * g + 4);
    set_scale32(u, g, 2 * (word >> 28) + 1);
    for (int l = 0; l < 4; l++) {
      put_signed(kGridIQ2_XXS.entry[b.qs[8 * g + l]], 8, kEvenSigns.entry[word >> (7 * l) & 127], u.q + 32 * g + 8 * l);
    }
  }
}

inline void unpack(const BlockIQ2_XS& b, Unpacked256& u) {
  u.d = half_to_float(b.d) * 0.125f;
  for (int t = 0; t < 32; t++) {
    put_signed(kGridIQ2_XS.entry[b.qs[t] & 511], 8, kEvenSigns.entry[b.qs[t] >> 9], u.q + 8 * t);
    u.scale[t / 2] = static_cast<int16_t>(2 * (b.scales[t / 4] >> (4 * (t / 2 % 2)) & 15) + 1);
  }
}

inline void unpack(const BlockIQ2_S& b, Unpacked256& u) {
  u.d = half_to_float(b.d) * 0.125f;
  for (int t = 0; t < 32; t++) {
    const int index = b.qs[t] | (b.qh[t / 4] >> (2 * (t % 4)) & 3) << 8;
    put_signed(kGridIQ2_S.entry[index], 8, b.signs[t], u.q + 8 * t);
    u.scale[t / 2] = static_cast<int16_t>(2 * (b.scales[t / 4] >> (4 * (t / 2 % 2)) & 15) + 1);
  }
}

inline void unpack(const BlockIQ3_XXS& b, Unpacked256& u) {
  u.d = half_to_float(b.d) * 0.25f;
  for (int g = 0; g < 8; g++) {
    const uint32_t word = word_at(b.words + 4 * g);
    set_scale32(u, g, 2 * (word >> 28) + 1);
    for (int v = 0; v < 8; v++) {
      const uint32_t signs = static_cast<uint32_t>(kEvenSigns.entry[word >> (7 * (v / 2)) & 127]) >> (4 * (v % 2));
      put_signed(kGridIQ3_XXS.entry[b.qs[8 * g + v]], 4, signs, u.q + 32 * g + 4 * v);
    }
  }
}

inline void unpack(const BlockIQ3_S& b, Unpacked256& u) {
  u.d = half_to_float(b.d);
  for (int g = 0; g < 8; g++) {
    set_scale32(u, g, 2 * (static_cast<uint32_t>(b.scales[g / 2]) >> (4 * (g % 2)) & 15) + 1);
    for (int v = 0; v < 8; v++) {
      const int index = b.qs[8 * g + v] | (b.qh[g] >> v & 1) << 8;
      const uint32_t signs = static_cast<uint32_t>(b.signs[4 * g + v / 2]) >> (4 * (v % 2));
      put_signed(kGridIQ3_S.entry[index], 4, signs, u.q + 32 * g + 4 * v);
    }
  }
}

// 8 * (entry - 1) + 1 or - 1.
inline void put_shifted(uint64_t entry, bool minus, int8_t* q) {
  for (int k = 0; k < 8; k++)
    q[k] = static_cast<int8_t>(8 * (static_cast<int>(entry >> (8 * k) & 255) - 1) + (minus ? -1 : 1));
}

inline void unpack(const BlockIQ1_S& b, Unpacked256& u) {
  u.d = half_to_float(b.d) * 0.125f;
  for (int g = 0; g < 8; g++) {
    const uint32_t word = b.qh[g];
    set_scale32(u, g, 2 * (word >> 12 & 7) + 1);
    for (int l = 0; l < 4; l++) {
      put_shifted(kGridIQ1.entry[b.qs[4 * g + l] | (word >> (3 * l) & 7) << 8], word >> 15 != 0, u.q + 32 * g + 8 * l);
    }
  }
}

inline void unpack(const BlockIQ1_M& b, Unpacked256& u) {
  uint32_t half = 0;
  for (int i = 0; i < 4; i++) half |= static_cast<uint32_t>(b.scales[i] >> 12) << (4 * i);
  u.d = half_to_float(static_cast<uint16_t>(half)) * 0.125f;
  for (int t = 0; t < 32; t++) {
    const uint32_t nibble = static_cast<uint32_t>(b.qh[t / 2]) >> (4 * (t % 2)) & 15;
    put_shifted(kGridIQ1.entry[b.qs[t] | (nibble & 7) << 8], nibble >> 3 != 0, u.q + 8 * t);
    u.scale[t / 2] = static_cast<int16_t>(2 * (b.scales[t / 8] >> (3 * (t / 2 % 4)) & 7) + 1);
  }
}

// Digit n of a byte, a fraction of 256 to the base of 3.
inline int8_t ternary(uint8_t byte, int n) {
  static const uint8_t kPowers[5] = {1, 3, 9, 27, 81};
  const uint8_t rest = static_cast<uint8_t>(byte * kPowers[n]);
  return static_cast<int8_t>((rest * 3 >> 8) - 1);
}

inline void unpack(const BlockTQ1_0& b, Unpacked256& u) {
  u.d = half_to_float(b.d);
  for (int g = 0; g < 16; g++) u.scale[g] = 1;
  for (int e = 0; e < 160; e++) u.q[e] = ternary(b.qs[e % 32], e / 32);
  for (int e = 0; e < 80; e++) u.q[160 + e] = ternary(b.qs[32 + e % 16], e / 16);
  for (int e = 0; e < 16; e++) u.q[240 + e] = ternary(b.qh[e % 4], e / 4);
}

inline void unpack(const BlockTQ2_0& b, Unpacked256& u) {
  u.d = half_to_float(b.d);
  for (int g = 0; g < 16; g++) u.scale[g] = 1;
  two_bits(b.qs, u.q);
  for (int e = 0; e < 256; e++) u.q[e] = static_cast<int8_t>(u.q[e] - 1);
}

}  // namespace
}  // namespace hw
