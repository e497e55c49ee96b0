// Blocks of rows made one. Of every column the values of a block's rows are added, weighted by a softmax of the rows'
// gates: row after row, folded as pieces of attention are, so that the state is a few sums however long a block is and
// how rows are cut into passes changes no bit. With overlap rows are twice as wide: a block is the second halves of its
// own rows and the first halves of those of the block before.
//   state [keys][values]: row 0 begins with how many rows of the block have come; then m, l, o of each half:
//   of its own rows (the second halves), with overlap also the first halves of its own rows and of those before
#include <string.h>

#include <algorithm>
#include <cmath>

#include "slot_runs.h"

namespace hw {
namespace ops {

namespace {

constexpr int32_t kColumns = 512;

// Largest gates, sums of weights, weighted sums of values.
struct Sums {
  float *m, *l, *o;
};

// Columns [c0, c0 + cols) of a layer's state.
struct Strip {
  const Kernels& kernels;
  const SlotLayer& layer;
  float* state;
  int32_t c0, cols;
  int32_t count = 0;

  bool overlaps() const { return layer.overlaps(); }
  int32_t halves() const { return overlaps() ? 2 : 1; }
  // Where the columns begin in a row: of its first half, and of its second.
  int64_t column(int32_t half) const { return int64_t{half} * layer.values + c0; }
  Sums sums(int32_t which) const {
    float* row = state + (1 + 3 * int64_t{which}) * layer.values + c0;
    return {row, row + layer.values, row + 2 * int64_t{layer.values}};
  }
  void reset(const Sums& at) const {
    std::fill(at.m, at.m + cols, -INFINITY);
    clear(at.l, cols);
    clear(at.o, cols);
  }
  // From the state of another slot, or from the beginning.
  void begin(const float* from) {
    if (from == nullptr) {
      for (int32_t i = 0; i < (overlaps() ? 3 : 1); i++) reset(sums(i));
      return;
    }
    count = from[0] >= 0 && from[0] < static_cast<float>(layer.every) ? static_cast<int32_t>(from[0]) : 0;
    copy_sums(from, state);
  }
  // The state as it is now, into a slot. One strip says how many rows have come.
  void leave(float* to) const {
    if (c0 == 0) to[0] = static_cast<float>(count);
    if (to != state) copy_sums(state, to);
  }
  void copy_sums(const float* from, float* to) const {
    for (int64_t key = 1; key < layer.keys; key++) {
      const int64_t at = key * layer.values + c0;
      memcpy(to + at, from + at, static_cast<size_t>(cols) * sizeof(float));
    }
  }
  // A half of a row joins the sums of its columns.
  void join(int32_t half, const float* values, const float* gates) const {
    float ones[kColumns];
    std::fill(ones, ones + cols, 1.0f);
    const Sums to = sums(overlaps() ? 1 - half : 0);
    kernels.attn_fold(gates, ones, values, cols, 1, to.m, to.l, to.o);
  }
  // Behind a row's halves: the row of the block, or zeros; out may be null.
  void finish_row(float* out) {
    if (++count < layer.every) {
      if (out != nullptr) clear(out, cols);
      return;
    }
    count = 0;
    const Sums own = sums(0);
    if (overlaps()) {
      const Sums first = sums(1), before = sums(2);
      kernels.attn_fold(before.m, before.l, before.o, cols, 1, own.m, own.l, own.o);
      memcpy(before.m, first.m, static_cast<size_t>(cols) * sizeof(float));
      memcpy(before.l, first.l, static_cast<size_t>(cols) * sizeof(float));
      memcpy(before.o, first.o, static_cast<size_t>(cols) * sizeof(float));
      reset(first);
    }
    for (int32_t c = 0; out != nullptr && c < cols; c++) out[c] = own.o[c] / own.l[c];
    reset(own);
  }
};

int32_t strips_of(const SlotLayer& layer) { return (layer.values + kColumns - 1) / kColumns; }

Strip strip_of(Model& model, const SlotLayer& layer, float* state, int32_t part) {
  const int32_t c0 = part * kColumns;
  return Strip{model.kernels(), layer, state, c0, std::min(kColumns, layer.values - c0)};
}

}  // namespace

Status compress(Model& model, int32_t out_handle, int32_t values_handle, int32_t gates_handle, int32_t pool_handle,
                int32_t layer_index, int32_t positions_handle, int32_t n) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, values, model, values_handle);
  HW_GET(Tensor, gates, model, gates_handle);
  HW_GET(SlotPool, pool, model, pool_handle);
  Result<const SlotLayer*> found = slot_layer(pool, layer_index, SLOT_OF_BLOCK);
  if (!found.ok) return Status{false};
  const SlotLayer& layer = *found.value;
  HW_TRY(check_rows(out, n, "out"));
  HW_TRY(check_rows(values, n, "values"));
  HW_TRY(check_rows(gates, n, "gates"));
  HW_TRY(check_pass(model, pool, n));
  const int64_t width = int64_t{layer.values} * (layer.overlaps() ? 2 : 1);
  if (out.cols != layer.values || values.cols != width || gates.cols != width || overlap(out, values, n) ||
      overlap(out, gates, n)) {
    return bad_argument("values and gates of %d and %d columns for blocks of %d", values.cols, gates.cols, out.cols);
  }
  const float* positions = nullptr;
  if (positions_handle != 0) {
    HW_GET(Vector, vector, model, positions_handle);
    if (vector.length != layer.every * width) return bad_argument("%d gates of positions", vector.length);
    positions = vector.data();
  }
  const int32_t parts = strips_of(layer);
  return over_runs(model, pool, parts, int64_t{kColumns} * 8, [&](const SlotRun& run, int32_t part) {
    Strip strip = strip_of(model, layer, pool.state(run.to, layer), part);
    strip.begin(run.from < 0 ? nullptr : pool.state(run.from, layer));
    int32_t m = run.m0;
    for (int32_t t = run.t0; t < run.t1; t++) {
      for (int32_t half = 0; half < strip.halves(); half++) {
        const int64_t at = strip.column(half);
        const float* const value = values.row(t) + at;
        float gate[kColumns];
        memcpy(gate, gates.row(t) + at, static_cast<size_t>(strip.cols) * sizeof(float));
        if (positions != nullptr) model.kernels().add(positions + strip.count * width + at, gate, strip.cols);
        strip.join(half, value, gate);
        if (run.keep < 0) continue;
        float* const kept = pool.kept_row(run.keep, layer, t - run.t0) + at;
        memcpy(kept, value, static_cast<size_t>(strip.cols) * sizeof(float));
        memcpy(kept + width, gate, static_cast<size_t>(strip.cols) * sizeof(float));
      }
      strip.finish_row(out.row(t) + strip.c0);
      if (m < run.m1 && pool.mark(m)->t == t) strip.leave(pool.state(pool.mark(m++)->slot, layer));
    }
    strip.leave(strip.state);
  });
}

void replay_block(Model& model, const SlotPool& pool, const SlotLayer& layer, const float* from, float* to,
                  int32_t keep, int32_t rows) {
  const int64_t width = layer.kept / 2;
  for (int32_t part = 0; part < strips_of(layer); part++) {
    Strip strip = strip_of(model, layer, to, part);
    strip.begin(from);
    for (int32_t i = 0; i < rows; i++) {
      const float* const kept = pool.kept_row(keep, layer, i);
      for (int32_t half = 0; half < strip.halves(); half++) {
        strip.join(half, kept + strip.column(half), kept + width + strip.column(half));
      }
      strip.finish_row(nullptr);
    }
    strip.leave(strip.state);
  }
}

}  // namespace ops
}  // namespace hw
