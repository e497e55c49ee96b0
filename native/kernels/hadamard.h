// x = H x / sqrt(n), H the Hadamard matrix of Sylvester's order: its own inverse. Scores of keys and queries that both
// went through it are as before, and a value that stands out is spread over all of its head, which suits the blocks of
// quantized caches (docs/decisions/0076-keys-and-values-apart.md). Sums and differences in a fixed order, the scale
// last: the same bits on every instruction set. Static functions only.
#pragma once
#include <math.h>
#include <stdint.h>

namespace hw {

static inline bool fits_hadamard(int32_t n) { return n > 0 && (n & (n - 1)) == 0; }

// n: 0 or a power of two.
static inline void hadamard(float* x, int32_t n) {
  for (int32_t half = 1; half < n; half *= 2)
    for (int32_t i = 0; i < n; i += 2 * half)
      for (int32_t j = i; j < i + half; j++) {
        const float a = x[j], b = x[j + half];
        x[j] = a + b;
        x[j + half] = a - b;
      }
  const float scale = (float)(1.0 / sqrt((double)n));
  for (int32_t i = 0; i < n; i++) x[i] *= scale;
}

// A key of which the first `values` are its value: these are mixed among themselves, so that they can be undone.
static inline void hadamard_latent(float* x, int32_t n, int32_t values) {
  hadamard(x, values);
  hadamard(x + values, n - values);
}

}  // namespace hw
