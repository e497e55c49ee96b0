// Rows as integers under scales of groups, and rows without some of their columns (encode/body/integers.inl).
#include <vector>

#include "each_part.h"

namespace hw {
namespace {

// Every column once, and within its block.
Status check_columns(Slice<const int32_t> order, int64_t cols, int64_t block) {
  if (order.length != cols) return bad_argument("the order has one entry a column");
  std::vector<bool> seen(static_cast<size_t>(cols));
  for (int64_t j = 0; j < cols; j++) {
    const int64_t from = order.data[j];
    if (from < 0 || from >= cols || from / block != j / block || seen[static_cast<size_t>(from)])
      return bad_argument("the order must hold each column of a block of %lld once", static_cast<long long>(block));
    seen[static_cast<size_t>(from)] = true;
  }
  return done();
}

Status check_shape(int64_t rows, int64_t cols, int64_t block, int32_t threads) {
  if (rows < 1 || cols < kFeedbackRows || cols % kFeedbackRows != 0 || block < kFeedbackRows ||
      block % kFeedbackRows != 0 || cols % block != 0 || block > kMostFactored)
    return bad_argument("%lld rows of %lld columns in blocks of %lld", static_cast<long long>(rows),
                        static_cast<long long>(cols), static_cast<long long>(block));
  if (threads < 1 || threads > kMaxThreads) return bad_argument("%d threads", threads);
  return done();
}

int64_t part_rows_of(int64_t rows, int64_t cols) {
  int64_t part = kPartValues / cols / kFeedbackRows * kFeedbackRows;
  part = part < kFeedbackRows ? kFeedbackRows : part;
  return part < rows ? part : rows;
}

}  // namespace

Result<double> encode_integers(int32_t from, Slice<const uint8_t> bytes, int64_t rows, int64_t cols, int32_t bits,
                               int64_t group, bool symmetric, int32_t trials,
                               const Nullable<Slice<const float>>& multipliers, Slice<const float> weights,
                               const Nullable<Slice<const float>>& factor, int64_t block, Slice<const int32_t> order,
                               Slice<uint8_t> codes, Slice<float> scales, Slice<uint8_t> offsets,
                               Slice<double> errors, int32_t threads, const Nullable<Text>& isa) {
  Result<const Kernels*> kernels = kernels_by_name(isa);
  if (!kernels.ok) return Status{false};
  Result<int64_t> from_bytes = row_bytes_within(from, rows, cols, bytes.length);
  if (!from_bytes.ok) return Status{false};
  HW_TRY(check_shape(rows, cols, factor.present ? block : cols, threads));
  HW_TRY(check_columns(order, cols, factor.present ? block : cols));
  if (bits < 2 || bits > 8 || trials < 1 || trials > 1000) return bad_argument("%d bits, %d trials", bits, trials);
  if (group < kFeedbackRows || group % kFeedbackRows != 0 || cols % group != 0 ||
      (factor.present && block % group != 0 && group % block != 0))
    return bad_argument("groups of %lld of %lld columns", static_cast<long long>(group), static_cast<long long>(cols));
  const int64_t groups = rows * (cols / group);
  if (weights.length != cols || (multipliers.present && multipliers.value.length != cols) ||
      (factor.present && factor.value.length != cols * block))
    return bad_argument("weights, multipliers and factor must fit the columns");
  if (codes.length != rows * cols || scales.length != groups || offsets.length != groups || errors.length != rows)
    return bad_argument("codes, scales, offsets and errors must fit rows and groups");
  const Encoders& encoders = encoders_for(kernels.value->isa);
  return each_part({from, bytes.data, from_bytes.value, rows, cols, part_rows_of(rows, cols)}, integer_scratch(cols),
                   threads, *kernels.value, [&](float* x, int64_t first, int64_t count, float* scratch) {
                     if (multipliers.present) {
                       for (int64_t i = 0; i < count * cols; i++) x[i] *= multipliers.value.data[i % cols];
                     }
                     encoders.integers({x, count, cols, bits, group, symmetric, trials, weights.data,
                                        factor.present ? factor.value.data : nullptr, block, order.data,
                                        codes.data + first * cols, scales.data + first * (cols / group),
                                        offsets.data + first * (cols / group), errors.data + first, scratch});
                   });
}

Result<double> repair_columns(int32_t from, Slice<const uint8_t> bytes, int64_t rows, int64_t cols,
                              Slice<const float> factor, int64_t block, Slice<const int32_t> order,
                              const Nullable<Slice<const uint8_t>>& dropped, Slice<float> out, Slice<double> errors,
                              int32_t threads, const Nullable<Text>& isa) {
  Result<const Kernels*> kernels = kernels_by_name(isa);
  if (!kernels.ok) return Status{false};
  Result<int64_t> from_bytes = row_bytes_within(from, rows, cols, bytes.length);
  if (!from_bytes.ok) return Status{false};
  HW_TRY(check_shape(rows, cols, block, threads));
  HW_TRY(check_columns(order, cols, block));
  if (factor.length != cols * block || (dropped.present && dropped.value.length != cols))
    return bad_argument("factor and dropped must fit the columns");
  if (out.length != rows * cols || errors.length != rows) return bad_argument("out and errors must fit the rows");
  const Encoders& encoders = encoders_for(kernels.value->isa);
  return each_part({from, bytes.data, from_bytes.value, rows, cols, part_rows_of(rows, cols)}, integer_scratch(cols),
                   threads, *kernels.value, [&](const float* x, int64_t first, int64_t count, float* scratch) {
                     encoders.repair({x, count, cols, factor.data, block, order.data,
                                      dropped.present ? dropped.value.data : nullptr, out.data + first * cols,
                                      errors.data + first, scratch});
                   });
}

}  // namespace hw
