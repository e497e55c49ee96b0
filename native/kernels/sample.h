// Reproducible random weights and activations, for the self-check, the kernel tests and the benchmarks.
#pragma once
#include <stdint.h>
#include <string.h>

#include "half.h"
#include "kernels.h"

namespace hw {

struct SampleRng {
  uint64_t state;
  explicit SampleRng(uint64_t seed) : state(seed * 0x9e3779b97f4a7c15ull + 0x632be59bd9b4e019ull) {}
  uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x2545f4914f6cdd1dull;
  }
  uint32_t below(uint32_t n) { return static_cast<uint32_t>((next() >> 32) * n >> 32); }
  float uniform() { return static_cast<float>(static_cast<int32_t>(next() >> 40) - (1 << 23)) * 0x1p-23f; }  // [-1, 1)
};

// The float16 of an IQ1_M block lies in the high nibbles of its four words of sub-scales.
static inline void set_iq1_m_scale(uint8_t* p, uint16_t half) {
  for (int i = 0; i < 4; i++) p[49 + 2 * i] = static_cast<uint8_t>((p[49 + 2 * i] & 15) | (half >> (4 * i) & 15) << 4);
}

// `count` values of a row: random bit patterns inside the blocks, scales of the size real weights have.
static inline void sample_weights(const DtypeInfo& info, SampleRng& rng, uint8_t* w, int64_t count) {
  const int64_t blocks = count / info.block;
  for (int64_t i = 0; i < blocks * info.bytes; i++) w[i] = static_cast<uint8_t>(rng.next() >> 32);
  for (int64_t b = 0; b < blocks; b++) {
    uint8_t* p = w + b * info.bytes;
    if (info.dtype == F32) {
      const float f = rng.uniform();
      memcpy(p, &f, 4);
    } else if (info.dtype == F16 || info.dtype == BF16) {
      const float f = rng.uniform();
      const uint16_t h = info.dtype == F16 ? float_to_half(f) : static_cast<uint16_t>(float_bits(f) >> 16);
      memcpy(p, &h, 2);
    } else if (info.dtype == MXFP4) {
      p[0] = static_cast<uint8_t>(118 + rng.below(8));
    } else if (info.dtype == NVFP4) {
      for (int i = 0; i < 4; i++) p[i] = static_cast<uint8_t>(8 + rng.below(32));
    } else if (info.dtype == IQ1_M) {
      set_iq1_m_scale(p, float_to_half(rng.uniform() * 0.05f));
    } else {
      const uint16_t d = float_to_half(rng.uniform() * 0.05f), m = float_to_half(rng.uniform() * 0.05f);
      memcpy(p + info.scale_at, &d, 2);
      if (info.min_at >= 0) memcpy(p + info.min_at, &m, 2);
    }
  }
}

}  // namespace hw
