// How a verb whose values depend on few others is spread over the pool.
#pragma once
#include <algorithm>

#include "ops.h"

namespace hw {
namespace ops {

// rows(t0, t1) over all rows, in parallel when there is enough to do.
template <typename Rows>
void over_rows(Model& model, int64_t n, int64_t cols, const Rows& rows) {
  if (n * cols < kInlineValues || n < 2) {
    rows(int64_t{0}, n);
    return;
  }
  int64_t step = std::max<int64_t>(1, kInlineValues / 4 / cols);
  model.pool().parallel_for((n + step - 1) / step,
                           [&](int64_t part, int) { rows(part * step, std::min(n, (part + 1) * step)); });
}

// values(i0, i1) over n contiguous rows seen as one array, cut at multiples of 64.
template <typename Values>
void over_values(Model& model, int64_t count, const Values& values) {
  constexpr int64_t kStep = 4096;
  if (count < kInlineValues) {
    values(int64_t{0}, count);
    return;
  }
  model.pool().parallel_for((count + kStep - 1) / kStep,
                           [&](int64_t part, int) { values(part * kStep, std::min(count, (part + 1) * kStep)); });
}

// A vector of so many values; null when the handle is 0.
Result<const float*> optional_vector(Model& model, int32_t handle, int64_t length);

}  // namespace ops
}  // namespace hw
