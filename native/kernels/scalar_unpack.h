// One weight block as plain integers and scales, for the scalar kernels: the rules of docs/formats.md in loops.
//   32-value blocks    value = d * q + m                                     (m only in Q4_1 and Q5_1)
//                      in NVFP4 d * q for the first 16 values and m * q for the others
//   256-value blocks   value = (d * scale[g]) * q - (dmin * min[g])          (min only in Q2_K, Q4_K, Q5_K)
// g counts groups of 16 for every type; types with groups of 32 repeat the pair.
#pragma once
#include <stdint.h>

#include "blocks.h"
#include "half.h"

namespace hw {
namespace {

struct Unpacked32 {
  float d, m;
  int8_t q[32];
};

struct Unpacked256 {
  float d, dmin;
  int16_t scale[16], min[16];
  int8_t q[256];
};

// Values 0..15 are the low nibbles of the 16 bytes, 16..31 the high ones.
inline void nibbles(const uint8_t* qs, int8_t* q) {
  for (int i = 0; i < 16; i++) {
    q[i] = static_cast<int8_t>(qs[i] & 15);
    q[i + 16] = static_cast<int8_t>(qs[i] >> 4);
  }
}

inline void fifth_bits(const uint8_t* qh, int8_t* q) {
  for (int i = 0; i < 32; i++) q[i] = static_cast<int8_t>(q[i] | ((qh[i / 8] >> (i % 8)) & 1) << 4);
}

inline void unpack(const BlockQ4_0& b, Unpacked32& u) {
  u.d = half_to_float(b.d);
  nibbles(b.qs, u.q);
  for (int i = 0; i < 32; i++) u.q[i] = static_cast<int8_t>(u.q[i] - 8);
}

inline void unpack(const BlockQ4_1& b, Unpacked32& u) {
  u.d = half_to_float(b.d);
  u.m = half_to_float(b.m);
  nibbles(b.qs, u.q);
}

inline void unpack(const BlockQ5_0& b, Unpacked32& u) {
  u.d = half_to_float(b.d);
  nibbles(b.qs, u.q);
  fifth_bits(b.qh, u.q);
  for (int i = 0; i < 32; i++) u.q[i] = static_cast<int8_t>(u.q[i] - 16);
}

inline void unpack(const BlockQ5_1& b, Unpacked32& u) {
  u.d = half_to_float(b.d);
  u.m = half_to_float(b.m);
  nibbles(b.qs, u.q);
  fifth_bits(b.qh, u.q);
}

inline void unpack(const BlockQ8_0& b, Unpacked32& u) {
  u.d = half_to_float(b.d);
  for (int i = 0; i < 32; i++) u.q[i] = b.qs[i];
}

inline void unpack(const BlockIQ4_NL& b, Unpacked32& u) {
  u.d = half_to_float(b.d);
  nibbles(b.qs, u.q);
  for (int i = 0; i < 32; i++) u.q[i] = kValuesIQ4NL[u.q[i]];
}

inline void unpack(const BlockMXFP4& b, Unpacked32& u) {
  u.d = e8m0_half_to_float(b.e);
  nibbles(b.qs, u.q);
  for (int i = 0; i < 32; i++) u.q[i] = kValuesMXFP4[u.q[i]];
}

// Types of larger blocks in parts of 32 values: part `i` of one.
inline void unpack_part(const BlockQ1_0& b, int i, Unpacked32& u) {
  u.d = half_to_float(b.d);
  for (int e = 0; e < 32; e++) u.q[e] = static_cast<int8_t>((b.qs[4 * i + e / 8] >> (e % 8)) & 1 ? 1 : -1);
}

inline void unpack_part(const BlockQ2_0& b, int i, Unpacked32& u) {
  u.d = half_to_float(b.d);
  for (int e = 0; e < 32; e++) u.q[e] = static_cast<int8_t>(((b.qs[8 * i + e / 4] >> (2 * (e % 4))) & 3) - 1);
}

// d is the scale of the first 16 values, m that of the others.
inline void unpack_part(const BlockNVFP4& b, int i, Unpacked32& u) {
  u.d = ue4m3_half_to_float(b.d[2 * i]);
  u.m = ue4m3_half_to_float(b.d[2 * i + 1]);
  for (int e = 0; e < 32; e++) {
    const uint8_t both = b.qs[16 * i + 8 * (e / 16) + e % 8];
    u.q[e] = kValuesMXFP4[e % 16 < 8 ? both & 15 : both >> 4];
  }
}

// Value e of Q2_K, Q3_K: two bits of byte 32 * (e / 128) + e % 32.
inline void two_bits(const uint8_t* qs, int8_t* q) {
  for (int e = 0; e < 256; e++) q[e] = static_cast<int8_t>((qs[32 * (e / 128) + e % 32] >> (2 * (e % 128 / 32))) & 3);
}

// Value e of Q4_K, Q5_K: a nibble of byte 32 * (e / 64) + e % 32, the low one first.
inline void nibble_groups(const uint8_t* qs, int8_t* q) {
  for (int e = 0; e < 256; e++) q[e] = static_cast<int8_t>((qs[32 * (e / 64) + e % 32] >> (4 * (e / 32 % 2))) & 15);
}

// Eight pairs of 6-bit scale and minimum in 12 bytes.
inline void scale_min_pairs(const uint8_t* s, Unpacked256& u) {
  for (int j = 0; j < 8; j++) {
    const int scale = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
    const int min = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6) << 4;
    u.scale[2 * j] = u.scale[2 * j + 1] = static_cast<int16_t>(scale);
    u.min[2 * j] = u.min[2 * j + 1] = static_cast<int16_t>(min);
  }
}

inline void unpack(const BlockQ2_K& b, Unpacked256& u) {
  u.d = half_to_float(b.d);
  u.dmin = half_to_float(b.dmin);
  for (int g = 0; g < 16; g++) {
    u.scale[g] = b.scales[g] & 15;
    u.min[g] = b.scales[g] >> 4;
  }
  two_bits(b.qs, u.q);
}

inline void unpack(const BlockQ3_K& b, Unpacked256& u) {
  u.d = half_to_float(b.d);
  for (int g = 0; g < 16; g++) {
    const int low = g < 8 ? b.scales[g] & 15 : b.scales[g - 8] >> 4;
    const int high = (b.scales[8 + g % 4] >> (2 * (g / 4))) & 3;
    u.scale[g] = static_cast<int16_t>((low | high << 4) - 32);
  }
  two_bits(b.qs, u.q);
  for (int e = 0; e < 256; e++) {
    if (!((b.hmask[e % 32] >> (e / 32)) & 1)) u.q[e] = static_cast<int8_t>(u.q[e] - 4);
  }
}

inline void unpack(const BlockQ4_K& b, Unpacked256& u) {
  u.d = half_to_float(b.d);
  u.dmin = half_to_float(b.dmin);
  scale_min_pairs(b.scales, u);
  nibble_groups(b.qs, u.q);
}

inline void unpack(const BlockQ5_K& b, Unpacked256& u) {
  u.d = half_to_float(b.d);
  u.dmin = half_to_float(b.dmin);
  scale_min_pairs(b.scales, u);
  nibble_groups(b.qs, u.q);
  for (int e = 0; e < 256; e++) u.q[e] = static_cast<int8_t>(u.q[e] | ((b.qh[e % 32] >> (e / 32)) & 1) << 4);
}

inline void unpack(const BlockQ6_K& b, Unpacked256& u) {
  u.d = half_to_float(b.d);
  for (int g = 0; g < 16; g++) u.scale[g] = b.scales[g];
  for (int e = 0; e < 256; e++) {
    const int h = e / 128, j = e % 128 / 32, l = e % 32;
    const int low = (b.ql[64 * h + l + 32 * (j & 1)] >> (4 * (j / 2))) & 15;
    const int high = (b.qh[32 * h + l] >> (2 * j)) & 3;
    u.q[e] = static_cast<int8_t>((low | high << 4) - 32);
  }
}

inline void unpack(const BlockIQ4_XS& b, Unpacked256& u) {
  u.d = half_to_float(b.d);
  for (int g = 0; g < 8; g++) {
    const int low = (b.scales_l[g / 2] >> (4 * (g % 2))) & 15;
    const int high = (b.scales_h >> (2 * g)) & 3;
    u.scale[2 * g] = u.scale[2 * g + 1] = static_cast<int16_t>((low | high << 4) - 32);
    nibbles(b.qs + 16 * g, u.q + 32 * g);
  }
  for (int e = 0; e < 256; e++) u.q[e] = kValuesIQ4NL[u.q[e]];
}

}  // namespace
}  // namespace hw
