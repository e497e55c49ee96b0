// Attention's queries in the form in which the codes of q8_0 and q4_0 keys multiply with them (ACTS_Q8_32).
#pragma once
#include "kernels.h"

namespace hw {

inline int64_t query_bytes(int64_t rows, int64_t cols) { return rows * (((cols + 63) & ~int64_t{63}) + cols / 4); }

// `cols` is a multiple of 32, the stride of x in floats; `memory` is 64-byte aligned and of query_bytes.
inline Acts quantize_queries(const Kernels& kernels, const float* x, int64_t stride, int32_t rows, int32_t cols,
                             void* memory) {
  Acts acts = {ACTS_Q8_32, rows, cols, x, nullptr, nullptr, nullptr, stride, (cols + 63) & ~63, cols / 32, cols / 16};
  int8_t* q = static_cast<int8_t*>(memory);
  float* d = reinterpret_cast<float*>(q + rows * acts.q_stride);
  int16_t* sums = reinterpret_cast<int16_t*>(d + rows * acts.d_stride);
  for (int32_t r = 0; r < rows; r++)
    kernels.quantize_q8_32(x + r * stride, q + r * acts.q_stride, d + r * acts.d_stride, sums + r * acts.sums_stride,
                           cols);
  acts.q = q;
  acts.d = d;
  acts.sums = sums;
  return acts;
}

}  // namespace hw
