// Rows of one tensor type into rows of another, over the threads of the machine.
#include <string.h>

#include <vector>

#include "each_part.h"

namespace hw {
namespace {

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

// Values that share a code or signs stay side by side.
int64_t group_of(int32_t dtype) {
  switch (dtype) {
    case IQ2_XXS:
    case IQ2_XS:
    case IQ2_S:
    case IQ3_XXS:
    case IQ3_S: return 8;
    default: return 1;
  }
}

// Every column once, and within its chunk and group.
Status check_order(Slice<const int32_t> order, int64_t chunk, int64_t group) {
  std::vector<bool> seen(static_cast<size_t>(order.length));
  for (int64_t j = 0; j < order.length; j++) {
    const int64_t from = order.data[j];
    if (from < 0 || from / chunk != j / chunk || from >= order.length || seen[static_cast<size_t>(from)])
      return bad_argument("the order must hold each column of a chunk of %lld once", static_cast<long long>(chunk));
    if (from % group != j % group || (j % group != 0 && from != order.data[j - 1] + 1))
      return bad_argument("groups of %lld columns stay together", static_cast<long long>(group));
    seen[static_cast<size_t>(from)] = true;
  }
  return done();
}

// What both encoders ask of their arguments.
struct Request {
  const Kernels* kernels;
  int64_t from_bytes, to_bytes;  // of a row
};

Result<Request> check_request(int32_t from, Slice<const uint8_t> bytes, int32_t to, int64_t rows, int64_t cols,
                              Slice<uint8_t> out, int32_t threads, const Nullable<Text>& isa) {
  Result<const Kernels*> kernels = kernels_by_name(isa);
  if (!kernels.ok) return Status{false};
  Result<int64_t> from_bytes = row_bytes_within(from, rows, cols, bytes.length);
  if (!from_bytes.ok) return Status{false};
  Result<int64_t> to_bytes = row_bytes_within(to, rows, cols, out.length);
  if (!to_bytes.ok) return Status{false};
  if (threads < 1 || threads > kMaxThreads) return bad_argument("%d threads", threads);
  return Request{kernels.value, from_bytes.value, to_bytes.value};
}

}  // namespace

Result<double> encode(int32_t from, Slice<const uint8_t> bytes, int32_t to, int64_t rows, int64_t cols,
                      const Nullable<Slice<const float>>& importance, Slice<uint8_t> out, int32_t threads,
                      const Nullable<Text>& isa) {
  Result<Request> request = check_request(from, bytes, to, rows, cols, out, threads, isa);
  if (!request.ok) return Status{false};
  const Request& r = request.value;
  const EncodePart encode_part = encoder_of(to, r.kernels->isa);
  if (encode_part == nullptr) return bad_argument("tensor type %d has no encoder", to);
  if (importance.present && importance.value.length != cols) return bad_argument("importance has one value a column");
  int64_t part_rows = kPartValues / cols;
  part_rows = part_rows < 8 ? 8 : part_rows / 8 * 8;
  return each_part(
      {from, bytes.data, r.from_bytes, rows, cols, part_rows < rows ? part_rows : rows}, 0, threads,
      *r.kernels, [&](const float* x, int64_t first, int64_t count, float*) {
        encode_part({x, count, cols, importance.present ? importance.value.data : nullptr,
                     out.data + first * r.to_bytes});
      });
}

Result<double> encode_with_feedback(int32_t from, Slice<const uint8_t> bytes, int32_t to, int64_t rows, int64_t cols,
                                    Slice<const float> importance, Slice<const float> factor, int64_t block,
                                    Slice<const int32_t> order, Slice<uint8_t> out, int32_t threads,
                                    const Nullable<Text>& isa) {
  Result<Request> request = check_request(from, bytes, to, rows, cols, out, threads, isa);
  if (!request.ok) return Status{false};
  const Request& r = request.value;
  const auto encode_part = encoders_for(r.kernels->isa).feedback[to];
  if (encode_part == nullptr) return bad_argument("tensor type %d has no encoder with feedback", to);
  const int64_t chunk = feedback_chunk(to);
  if (block < chunk || block % chunk != 0 || cols % block != 0 || block > kMostFactored)
    return bad_argument("blocks of %lld columns", static_cast<long long>(block));
  if (importance.length != cols || order.length != cols || factor.length != cols * block)
    return bad_argument("importance, order and factor must fit the columns");
  HW_TRY(check_order(order, chunk, group_of(to)));
  int64_t part_rows = kPartValues / cols / kFeedbackRows * kFeedbackRows;
  part_rows = part_rows < kFeedbackRows ? kFeedbackRows : part_rows;
  return each_part({from, bytes.data, r.from_bytes, rows, cols, part_rows < rows ? part_rows : rows},
                   feedback_scratch(block), threads, *r.kernels,
                   [&](const float* x, int64_t first, int64_t count, float* scratch) {
                     encode_part({{x, count, cols, importance.data, out.data + first * r.to_bytes},
                                  factor.data, block, order.data, scratch});
                   });
}

}  // namespace hw
