// Rows of one tensor type into rows of another, over the threads of the machine.
#include "../encode/encode.h"

#include <string.h>

#include <atomic>

#include "../kernels/half.h"
#include "../machine.h"
#include "addon.h"

namespace hw {
namespace {

// The first value that is no number, or -1.
int64_t first_not_finite(const float* x, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    if ((float_bits(x[i]) & 0x7f800000) == 0x7f800000) return i;
  }
  return -1;
}

bool all_finite(const float* x, int64_t n) {
  uint32_t most = 0;
  for (int64_t i = 0; i < n; i++) {
    const uint32_t exponent = float_bits(x[i]) & 0x7f800000;
    most = exponent > most ? exponent : most;
  }
  return most != 0x7f800000;
}

void to_halves(const EncodeRows& rows) {
  for (int64_t i = 0; i < rows.rows * rows.cols; i++) {
    const uint16_t half = float_to_half(rows.x[i]);
    memcpy(rows.out + 2 * i, &half, 2);
  }
}

void to_bf16(const EncodeRows& rows) {
  for (int64_t i = 0; i < rows.rows * rows.cols; i++) {
    const uint32_t bits = float_bits(rows.x[i]);
    const uint16_t rounded = static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    memcpy(rows.out + 2 * i, &rounded, 2);
  }
}

void to_floats(const EncodeRows& rows) { memcpy(rows.out, rows.x, static_cast<size_t>(rows.rows * rows.cols) * 4); }

using EncodePart = void (*)(const EncodeRows&);
EncodePart encoder_of(int32_t dtype, const char* isa) {
  if (dtype == F32) return &to_floats;
  if (dtype == F16) return &to_halves;
  return dtype == BF16 ? &to_bf16 : encoders_for(isa).encode[dtype];
}

// Values of a part: enough for sixteen blocks and few enough for the cache of a core.
constexpr int64_t kPartValues = 65536;

}  // namespace

Result<double> encode(int32_t from, Slice<const uint8_t> bytes, int32_t to, int64_t rows, int64_t cols,
                      const Nullable<Slice<const float>>& importance, Slice<uint8_t> out, int32_t threads,
                      const Nullable<Text>& isa) {
  Result<const Kernels*> kernels = kernels_by_name(isa);
  if (!kernels.ok) return Status{false};
  Result<int64_t> from_bytes = row_bytes_within(from, rows, cols, bytes.length);
  if (!from_bytes.ok) return Status{false};
  Result<int64_t> to_bytes = row_bytes_within(to, rows, cols, out.length);
  if (!to_bytes.ok) return Status{false};
  const EncodePart encode_part = encoder_of(to, kernels.value->isa);
  if (encode_part == nullptr) return bad_argument("tensor type %d has no encoder", to);
  if (importance.present && importance.value.length != cols) return bad_argument("importance has one value a column");
  if (threads < 1 || threads > kMaxThreads) return bad_argument("%d threads", threads);
  Result<std::shared_ptr<Machine>> machine = Machine::lease(threads, nullptr, 0, 0);
  if (!machine.ok) return Status{false};

  int64_t part_rows = kPartValues / cols;
  part_rows = part_rows < 8 ? 8 : part_rows / 8 * 8;
  if (part_rows > rows) part_rows = rows;
  Counters counters;
  Buffer scratch;
  if (!scratch.allocate(&counters, Purpose::scratch, static_cast<size_t>(part_rows * cols * threads) * sizeof(float)))
    return fail("MEMORY_BUDGET", "no memory for %lld values a thread", static_cast<long long>(part_rows * cols));
  std::atomic<int64_t> bad{INT64_MAX};
  const Kernels& k = *kernels.value;
  machine.value->pool().parallel_for((rows + part_rows - 1) / part_rows, [&](int64_t part, int thread) {
    const int64_t first = part * part_rows, count = first + part_rows < rows ? part_rows : rows - first;
    float* x = scratch.as<float>() + thread * part_rows * cols;
    for (int64_t r = 0; r < count; r++)
      k.dequantize[from](bytes.data + (first + r) * from_bytes.value, x + r * cols, cols);
    if (!all_finite(x, count * cols)) {
      const int64_t at = first * cols + first_not_finite(x, count * cols);
      int64_t seen = bad.load(std::memory_order_relaxed);
      while (at < seen && !bad.compare_exchange_weak(seen, at)) {
      }
      return;
    }
    encode_part({x, count, cols, importance.present ? importance.value.data : nullptr,
                 out.data + first * to_bytes.value});
  });
  const int64_t found = bad.load();
  return found == INT64_MAX ? -1.0 : static_cast<double>(found);
}

}  // namespace hw
