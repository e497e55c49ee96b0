// Binary16 and bfloat16 in plain integer arithmetic, for the scalar kernels, the KV encoders and the tests. Static
// functions and compiler builtins only, so an ISA object may include it without exporting code compiled for its ISA.
#pragma once
#include <stdint.h>

namespace hw {

static inline uint32_t float_bits(float f) {
  uint32_t u;
  __builtin_memcpy(&u, &f, 4);
  return u;
}

static inline float bits_float(uint32_t u) {
  float f;
  __builtin_memcpy(&f, &u, 4);
  return f;
}

// Exact. NaNs come out quiet with their payload kept, as VCVTPH2PS does.
static inline float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t exponent = (h >> 10) & 31;
  const uint32_t mantissa = h & 0x3ff;
  if (exponent == 31) return bits_float(sign | 0x7f800000 | (mantissa ? 0x400000 : 0) | (mantissa << 13));
  if (exponent) return bits_float(sign | ((exponent + 112) << 23) | (mantissa << 13));
  // Subnormal: mantissa * 2^-24 is exact in binary32.
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return bits_float(sign | float_bits(magnitude));
}

// Round to nearest, ties to even; overflow gives infinity; NaN gives a quiet NaN.
static inline uint16_t float_to_half(float f) {
  const uint32_t u = float_bits(f);
  const uint16_t sign = static_cast<uint16_t>((u >> 16) & 0x8000);
  const uint32_t a = u & 0x7fffffff;
  if (a > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00 | ((a >> 13) & 0x3ff));
  if (a >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // 65520 and above round to infinity
  if (a < 0x38800000) {
    // Below 2^-14. Adding 0.5 puts the 2^-24 unit of a subnormal half at the last bit of the float, which rounds it.
    const float rounded = bits_float(a) + 0.5f;
    return static_cast<uint16_t>(sign | (float_bits(rounded) - 0x3f000000));
  }
  const uint32_t odd = (a >> 13) & 1;
  return static_cast<uint16_t>(sign | ((a - 0x38000000 + 0xfff + odd) >> 13));
}

static inline float bf16_to_float(uint16_t h) { return bits_float(static_cast<uint32_t>(h) << 16); }

// 2^(e - 128), the block scale of MXFP4 with its codebook doubled; e = 0 and 1 are subnormal floats.
static inline float e8m0_half_to_float(uint8_t e) {
  return bits_float(e < 2 ? 0x200000u << e : static_cast<uint32_t>(e - 1) << 23);
}

// Half of an unsigned E4M3 number, the block scale of NVFP4 with its codebook doubled: the sign bit is ignored, NaN is
// zero.
static inline float ue4m3_half_to_float(uint8_t e) {
  const uint32_t code = e & 127;
  if (code == 127) return 0.0f;
  if (code < 8) return static_cast<float>(code) * 0x1p-10f;
  return bits_float(((code >> 3) + 119) << 23 | (code & 7) << 20);
}

}  // namespace hw
