// Sums over a row for verbs without a kernel of their own: the order of every float dot, so that all instruction sets
// agree.
#pragma once
#include "../kernels/float_math.h"

namespace hw {
namespace ops {

// Sum of v(k), k < cols, as 32 partial sums and the fixed tree (kernels.h, "float dot").
template <typename V>
float sum_of(int64_t cols, const V& v) {
  float p[32] = {0};
  for (int64_t k = 0; k < cols; k++) p[k % 32] = p[k % 32] + v(k);
  return tree_sum(p);
}

template <typename V>
float squares_of(int64_t cols, const V& v) {
  float p[32] = {0};
  for (int64_t k = 0; k < cols; k++) {
    float value = v(k);
    p[k % 32] = __builtin_fmaf(value, value, p[k % 32]);
  }
  return tree_sum(p);
}

template <typename V, typename W>
float dot_of(int64_t cols, const V& v, const W& w) {
  float p[32] = {0};
  for (int64_t k = 0; k < cols; k++) p[k % 32] = __builtin_fmaf(w(k), v(k), p[k % 32]);
  return tree_sum(p);
}

}  // namespace ops
}  // namespace hw
