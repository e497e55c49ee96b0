// KV-cache rows in plain C: the f16 / q8_0 / q4_0 encoders and decoders every ISA must agree with.
// Row of one head: f16 = head_dim halves; q8_0 = head_dim / 32 blocks of 34 bytes; q4_0 = head_dim / 32 blocks of 18.
//
// Encoders follow the reference quantizers (docs/formats.md): the scale is used in f32 and stored as f16 afterwards.
// Where the reference would convert a NaN or an out-of-range value to an integer (undefined there) we say what happens:
// NaN gives code 0, the rest is clamped. Static functions only.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "float_math.h"
#include "half.h"

namespace hw {

static inline int64_t kv_row_bytes(int32_t type, int64_t head_dim) {
  return type == 0 ? head_dim * 2 : head_dim / 32 * (type == 1 ? 34 : 18);
}

static inline void kv_decode_f16(const uint8_t* row, float* out, int32_t head_dim) {
  for (int32_t i = 0; i < head_dim; i++) out[i] = half_to_float((uint16_t)(row[2 * i] | row[2 * i + 1] << 8));
}

static inline void kv_decode_q8_0(const uint8_t* row, float* out, int32_t head_dim) {
  for (int32_t b = 0; b < head_dim / 32; b++, row += 34) {
    const float d = half_to_float((uint16_t)(row[0] | row[1] << 8));
    for (int i = 0; i < 32; i++) out[b * 32 + i] = d * (float)(int8_t)row[2 + i];
  }
}

static inline void kv_decode_q4_0(const uint8_t* row, float* out, int32_t head_dim) {
  for (int32_t b = 0; b < head_dim / 32; b++, row += 18) {
    const float d = half_to_float((uint16_t)(row[0] | row[1] << 8));
    for (int i = 0; i < 16; i++) {
      out[b * 32 + i] = d * (float)((row[2 + i] & 15) - 8);
      out[b * 32 + 16 + i] = d * (float)((row[2 + i] >> 4) - 8);
    }
  }
}

static inline void kv_put_u16(uint8_t* out, uint16_t v) {
  out[0] = (uint8_t)v;
  out[1] = (uint8_t)(v >> 8);
}

static inline void kv_encode_f16(const float* x, uint8_t* out, int32_t head_dim) {
  for (int32_t i = 0; i < head_dim; i++) kv_put_u16(out + 2 * i, float_to_half(x[i]));
}

// d = max|x| / 127, q = x / d rounded half away from zero.
static inline void kv_encode_q8_0(const float* x, uint8_t* out, int32_t head_dim) {
  for (int32_t b = 0; b < head_dim / 32; b++, x += 32, out += 34) {
    float amax = 0.0f;
    for (int i = 0; i < 32; i++) amax = max_f32(__builtin_fabsf(x[i]), amax);
    const float d = amax / 127.0f, id = d != 0.0f ? 1.0f / d : 0.0f;
    kv_put_u16(out, float_to_half(d));
    for (int i = 0; i < 32; i++) {
      float v = x[i] * id;
      v = v == v ? v : 0.0f;
      v = min_f32(127.0f, max_f32(-127.0f, v));
      const int32_t t = (int32_t)v;
      const float rest = v - (float)t;  // exact: |v| < 2^7
      out[2 + i] = (uint8_t)(t + (rest >= 0.5f) - (rest <= -0.5f));
    }
  }
}

// m = the value of largest magnitude (first one wins), d = m / -8, q = min(15, trunc(x / d + 8.5)).
static inline void kv_encode_q4_0(const float* x, uint8_t* out, int32_t head_dim) {
  for (int32_t b = 0; b < head_dim / 32; b++, x += 32, out += 18) {
    float amax = 0.0f, m = 0.0f;
    for (int i = 0; i < 32; i++) {
      const float a = __builtin_fabsf(x[i]);
      m = a > amax ? x[i] : m;
      amax = max_f32(a, amax);
    }
    const float d = m / -8.0f, id = d != 0.0f ? 1.0f / d : 0.0f;
    kv_put_u16(out, float_to_half(d));
    int32_t q[32];
    for (int i = 0; i < 32; i++) {
      float v = x[i] * id;
      v = v == v ? v + 8.5f : 0.0f;
      q[i] = (int32_t)min_f32(15.0f, max_f32(0.0f, v));
    }
    for (int i = 0; i < 16; i++) out[2 + i] = (uint8_t)(q[i] | q[i + 16] << 4);
  }
}

}  // namespace hw
