// Products along the other axis, out = x · W: rows of the weight are decoded exactly and added in ascending order, one
// fma each, out[c] = fma(x[r], w[r][c], out[c]) from +0. That is the whole canonical order, so it needs no kernel of
// its own: decoding and axpy give the same bits on every instruction set. Threads split columns; the sum so far lies in
// the output while pieces of rows arrive, and pieces of inputs are outputs of their own.
#include <string.h>

#include <algorithm>
#include <atomic>

#include "../kernels/packed.h"
#include "../kernels/units.h"
#include "products.h"

namespace hw {
namespace ops {

namespace {

constexpr int64_t kColumns = 256, kMostColumns = 2048;  // multiples of every block
// Up to this many token rows one pass over long runs of weight bytes pays, beyond it outputs that stay in the cache.
constexpr int32_t kFewRows = 4;

// Values [c0, c1) of a row that lies in the piece; at most kMostColumns.
void decode(const Kernels& k, const Weight& w, const Piece& piece, const UnitGrid& grid, bool packed, int64_t row,
            int64_t c0, int64_t c1, float* out) {
  const Layout& layout = *w.layout;
  if (layout.blocks == nullptr) {
    k.unit_values[layout.units](layout, grid, row, c0, c1, out);
    return;
  }
  const DtypeInfo& info = *layout.blocks;
  const int64_t row_bytes = w.slices.bytes, block = c0 / info.block;
  if (!packed || row >= w.resident / kStripRows * kStripRows) {
    k.dequantize[info.dtype](piece.plane[0] + (row - piece.from) * row_bytes + block * info.bytes, out, c1 - c0);
    return;
  }
  const uint8_t* const strip = piece.plane[0] + (row - row % kStripRows) * row_bytes;
  uint8_t blocks[4 * kColumns];  // types that are packed take less than four bytes for a value
  for (int64_t c = c0; c < c1; c += kColumns) {
    const int64_t count = std::min(kColumns, c1 - c);
    unpack_row(info, strip, w.cols, static_cast<int>(row % kStripRows), c / info.block, count / info.block, blocks);
    k.dequantize[info.dtype](blocks, out + c - c0, count);
  }
}

// Output rows of a piece.
void rows_of(const Weight& w, const Piece& piece, int64_t* r0, int64_t* r1) {
  *r0 = w.layout->by_inputs ? 0 : piece.from * w.slices.step;
  *r1 = w.layout->by_inputs ? w.rows : piece.to * w.slices.step;
}

// Columns [c0, c1) of the product of a head, or of an expert, over the rows of a piece.
void run_columns(const Kernels& k, const ProductTask& task, const Piece& piece, bool packed, int64_t expert,
                 int64_t head, int64_t c0, int64_t c1) {
  const Weight& w = *task.weight;
  const Layout& layout = *w.layout;
  const UnitGrid grid = layout.blocks == nullptr ? unit_grid(layout, w.slices, w.rows, w.cols, piece) : UnitGrid{};
  const int64_t each = w.rows / task.heads, begin = head * each, end = begin + each;
  int64_t r0, r1;
  rows_of(w, piece, &r0, &r1);
  r0 = std::max(r0, begin);
  r1 = std::min(r1, end);
  const int64_t at = (expert * task.heads + head) * w.cols + c0;
  float* const sums = task.sums + at;
  const float* const x = task.acts->f32 + expert * w.rows;
  if (r0 == begin) {
    for (int32_t t = 0; t < task.n; t++)
      memset(sums + t * task.sums_stride, 0, static_cast<size_t>(c1 - c0) * sizeof(float));
  }
  float values[kMostColumns];
  for (int64_t r = r0; r < r1; r++) {
    decode(k, w, piece, grid, packed, r, c0, c1, values);
    for (int32_t t = 0; t < task.n; t++) {
      const int64_t row = task.pick != nullptr ? task.pick[t] : t;
      k.axpy(values, x[row * task.acts->f32_stride + r], sums + t * task.sums_stride, c1 - c0);
    }
  }
  if (r1 < end) return;
  for (int32_t t = 0; t < task.n; t++) {
    if (task.bias != nullptr) k.add(task.bias + at, sums + t * task.sums_stride, c1 - c0);
    if (task.joins()) k.add(sums + t * task.sums_stride, task.out + t * task.out_stride + at, c1 - c0);
  }
}

// What a piece holds of each of `experts` experts, or of heads; `piece_of(e)` is where.
template <class PieceOf>
Status run_piece(Model& model, const ProductTask& task, int64_t experts, bool packed, PieceOf piece_of) {
  const Weight& w = *task.weight;
  const Piece first = piece_of(0);
  const bool by_inputs = w.layout->by_inputs;
  const int64_t begin = by_inputs ? first.from * w.slices.step : 0, end = by_inputs ? first.to * w.slices.step : w.cols;
  const int64_t share = (end - begin + 4 * model.pool().threads() - 1) / (4 * model.pool().threads());
  const int64_t most = task.n <= kFewRows ? kMostColumns : kColumns;
  const int64_t step = std::min(most, std::max(kColumns, round_up(share, kColumns)));
  const int64_t parts = (end - begin + step - 1) / step;
  int64_t r0, r1;
  rows_of(w, first, &r0, &r1);
  const int64_t each = w.rows / task.heads, head0 = r0 / each, heads = (r1 - 1) / each + 1 - head0;
  std::atomic<bool> stop(false);
  model.pool().parallel_for(experts * heads * parts, [&](int64_t index, int) {
    if (stop.load(std::memory_order_relaxed) || model.cancelled()) {
      stop.store(true, std::memory_order_relaxed);
      return;
    }
    const int64_t expert = index / parts / heads, head = head0 + index / parts % heads;
    const int64_t c0 = begin + index % parts * step;
    run_columns(model.kernels(), task, piece_of(expert), packed, expert, head, c0, std::min(end, c0 + step));
  });
  return stop.load() ? cancelled() : done();
}

}  // namespace

Status run_transposed(Model& model, const ProductTask& task) {
  const Weight& w = *task.weight;
  if (w.resident > 0) {
    model.count_memory_bytes(w.experts * w.resident * w.slices.bytes);
    HW_TRY(run_piece(model, task, w.experts, w.packed, [&](int64_t expert) { return w.resident_piece(expert); }));
  }
  for (int64_t slice = w.resident; slice < w.slices.count;) {
    if (model.cancelled()) return cancelled();
    Piece piece;
    HW_TRY(next_piece(w, 0, slice, &piece));
    if (w.source->in_memory()) model.count_memory_bytes((piece.to - piece.from) * w.slices.bytes);
    const Status status = run_piece(model, task, 1, false, [&](int64_t) { return piece; });
    w.source->release(piece);
    if (!status.ok) return status;
    slice = piece.to;
  }
  return done();
}

}  // namespace ops
}  // namespace hw
