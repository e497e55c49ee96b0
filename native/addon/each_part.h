// Rows of a tensor as values, part by part, over the threads of the machine.
#pragma once
#include <stdint.h>

#include <atomic>

#include "../encode/feedback.h"
#include "../kernels/half.h"
#include "../machine.h"
#include "addon.h"

namespace hw {

// The first value that is no number, or -1.
inline int64_t first_not_finite(const float* x, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    if ((float_bits(x[i]) & 0x7f800000) == 0x7f800000) return i;
  }
  return -1;
}

inline bool all_finite(const float* x, int64_t n) {
  uint32_t most = 0;
  for (int64_t i = 0; i < n; i++) {
    const uint32_t exponent = float_bits(x[i]) & 0x7f800000;
    most = exponent > most ? exponent : most;
  }
  return most != 0x7f800000;
}

// Values of a part: enough for sixteen blocks and few enough for the cache of a core.
constexpr int64_t kPartValues = 65536;
// Columns of the largest factor.
constexpr int64_t kMostFactored = 65536;

struct Source {
  int32_t dtype;
  const uint8_t* bytes;
  int64_t row_bytes, rows, cols, part_rows;
};

// Calls body(x, first, count, scratch) with the values of each part of rows, over the threads.
template <typename Body>
Result<double> each_part(const Source& from, int64_t scratch_floats, int32_t threads, const Kernels& k,
                         const Body& body) {
  Result<std::shared_ptr<Machine>> machine = Machine::lease(threads, nullptr, 0, 0);
  if (!machine.ok) return Status{false};
  // Scratch begins at whole cache lines.
  const int64_t values = (from.part_rows * from.cols + 15) / 16 * 16, each = values + scratch_floats;
  Counters counters;
  Buffer scratch;
  if (!scratch.allocate(&counters, Purpose::scratch, static_cast<size_t>(each * threads) * sizeof(float)))
    return fail("MEMORY_BUDGET", "no memory for %lld values a thread", static_cast<long long>(each));
  std::atomic<int64_t> bad{INT64_MAX};
  machine.value->pool().parallel_for((from.rows + from.part_rows - 1) / from.part_rows, [&](int64_t part, int thread) {
    const int64_t first = part * from.part_rows;
    const int64_t count = first + from.part_rows < from.rows ? from.part_rows : from.rows - first;
    float* x = scratch.as<float>() + thread * each;
    for (int64_t r = 0; r < count; r++)
      k.dequantize[from.dtype](from.bytes + (first + r) * from.row_bytes, x + r * from.cols, from.cols);
    if (!all_finite(x, count * from.cols)) {
      const int64_t at = first * from.cols + first_not_finite(x, count * from.cols);
      int64_t seen = bad.load(std::memory_order_relaxed);
      while (at < seen && !bad.compare_exchange_weak(seen, at)) {
      }
      return;
    }
    body(x, first, count, x + values);
  });
  const int64_t found = bad.load();
  return found == INT64_MAX ? -1.0 : static_cast<double>(found);
}

}  // namespace hw
