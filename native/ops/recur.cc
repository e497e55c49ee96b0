// Recurrences and short convolutions: row after row of each sequence, in the order of their positions, in parallel
// over heads, columns and sequences. How rows are cut into passes changes no bit.
#include <string.h>

#include <algorithm>

#include "slot_runs.h"

namespace hw {
namespace ops {

namespace {

// Columns of a head's values that one thread takes through all rows: with 128 keys they fill half of an L1 cache.
// A pass of few rows takes a head's columns together, so that memory reads the state in order.
constexpr int32_t kStrip = 32, kWideStrip = 128, kFewRows = 2;
constexpr int32_t kConvColumns = 512;

// What a recurrence reads of a row: k, v, decay and beta lie somewhere, side by side when they were kept.
struct RecurRow {
  const float *q, *k, *v, *decay, *beta;
};

// A strip of a head's columns through rows [0, count), from state `from` (null: zeros) into state `to`. `after(i, at,
// cols)` may copy the strip, keys rows of `cols` values from `at` on, after row i.
template <typename RowOf, typename After>
void run_strip(const Kernels& kernels, const SlotLayer& layer, int32_t head, int32_t c0, int32_t strip,
               const float* from, float* to, int32_t count, const float* skip, const RowOf& row_of,
               const After& after) {
  const int32_t cols = std::min(strip, layer.values - c0), key_head = layer.key_head(head);
  const int64_t at = int64_t{head} * layer.keys * layer.values + c0;
  if (from == nullptr) {
    for (int32_t k = 0; k < layer.keys; k++) clear(to + at + int64_t{k} * layer.values, cols);
    from = to;
  }
  for (int32_t i = 0; i < count; i++, from = to) {
    float* out = nullptr;
    const RecurRow row = row_of(i, &out);
    const int64_t keys = int64_t{key_head} * layer.keys, values = int64_t{head} * layer.values + c0;
    const RecurStep step = {from + at,
                            to + at,
                            layer.values,
                            layer.keys,
                            cols,
                            row.q == nullptr ? nullptr : row.q + keys,
                            row.k + keys,
                            row.v + values,
                            row.decay + int64_t{head} * layer.decays,
                            layer.decays > 1 ? 1 : 0,
                            row.beta == nullptr ? 1.0f : row.beta[head],
                            layer.correct,
                            skip == nullptr ? nullptr : skip + head,
                            out == nullptr ? nullptr : out + values};
    kernels.recur(&step);
    after(i, at, cols);
  }
}

void keep_recur(const SlotPool& pool, const SlotLayer& layer, const SlotRun& run, const Tensor& k, const Tensor& v,
                const Tensor& decay, const Tensor* beta) {
  for (int32_t t = run.t0; t < run.t1; t++) {
    float* to = pool.kept_row(run.keep, layer, t - run.t0);
    auto put = [&](const float* from, int64_t count) {
      if (from != nullptr) memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
      for (int64_t i = 0; from == nullptr && i < count; i++) to[i] = 1.0f;
      to += count;
    };
    put(k.row(t), k.cols);
    put(v.row(t), v.cols);
    put(decay.row(t), decay.cols);
    put(beta == nullptr ? nullptr : beta->row(t), layer.heads);
  }
}

}  // namespace

Status recur(Model& model, int32_t out_handle, Slice<const int32_t> inputs, int32_t pool_handle, int32_t layer_index,
             int32_t skip_handle, int32_t n) {
  if (inputs.length != 5) return bad_argument("inputs are q, k, v, decay, beta");
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, q, model, inputs.data[0]);
  HW_GET(Tensor, k, model, inputs.data[1]);
  HW_GET(Tensor, v, model, inputs.data[2]);
  HW_GET(Tensor, decay, model, inputs.data[3]);
  const Tensor* beta = nullptr;
  if (inputs.data[4] != 0) {
    HW_GET(Tensor, strength, model, inputs.data[4]);
    beta = &strength;
  }
  HW_GET(SlotPool, pool, model, pool_handle);
  Result<const SlotLayer*> found = slot_layer(pool, layer_index, SLOT_OF_MATRIX);
  if (!found.ok) return Status{false};
  const SlotLayer& layer = *found.value;
  HW_TRY(check_pass(model, pool, n));
  const Tensor* const tensors[] = {&out, &q, &k, &v, &decay, beta};
  const int64_t widths[] = {int64_t{layer.heads} * layer.values, int64_t{layer.key_heads} * layer.keys,
                            int64_t{layer.key_heads} * layer.keys, int64_t{layer.heads} * layer.values,
                            int64_t{layer.heads} * layer.decays, layer.heads};
  for (int i = 0; i < 6; i++) {
    if (tensors[i] == nullptr) continue;
    HW_TRY(check_rows(*tensors[i], n, "an input"));
    if (tensors[i]->cols != widths[i] || (i > 0 && overlap(out, *tensors[i], n))) {
      return bad_argument("input %d of a recurrence has %d columns, not %lld", i, tensors[i]->cols,
                          static_cast<long long>(widths[i]));
    }
  }
  const float* skip = nullptr;
  if (skip_handle != 0) {
    HW_GET(Vector, vector, model, skip_handle);
    if (vector.length != layer.heads) return bad_argument("%d factors for %d heads", vector.length, layer.heads);
    skip = vector.data();
  }
  for (int32_t r = 0; r < pool.run_count; r++) {
    if (pool.run(r)->keep >= 0) keep_recur(pool, layer, *pool.run(r), k, v, decay, beta);
  }
  const int32_t strip = n <= kFewRows * pool.run_count ? kWideStrip : kStrip;
  const int32_t strips = (layer.values + strip - 1) / strip;
  auto strip_of_run = [&](const SlotRun& run, int32_t part) {
    const float* from = run.from < 0 ? nullptr : pool.state(run.from, layer);
    float* state = pool.state(run.to, layer);
    auto row_of = [&](int32_t i, float** to) {
      const int64_t t = run.t0 + i;
      *to = out.row(t);
      return RecurRow{q.row(t), k.row(t), v.row(t), decay.row(t), beta == nullptr ? nullptr : beta->row(t)};
    };
    auto copy_marked = [&](int32_t i, int64_t at, int32_t cols) {
      for (int32_t m = run.m0; m < run.m1; m++) {
        if (pool.mark(m)->t != run.t0 + i) continue;
        float* to = pool.state(pool.mark(m)->slot, layer) + at;
        for (int64_t key = 0; key < layer.keys; key++) {
          memcpy(to + key * layer.values, state + at + key * layer.values, static_cast<size_t>(cols) * sizeof(float));
        }
      }
    };
    run_strip(model.kernels(), layer, part / strips, part % strips * strip, strip, from, state, run.t1 - run.t0, skip,
              row_of, copy_marked);
  };
  return over_runs(model, pool, layer.heads * strips, int64_t{layer.keys} * strip, strip_of_run);
}

namespace {

// The tail after `count` more rows; `from` may be `to`.
template <typename RowOf>
void shift_tail(const SlotLayer& layer, const float* from, float* to, int32_t c0, int32_t c1, int32_t count,
                const RowOf& row_of) {
  for (int32_t i = 0; i < layer.keys; i++) {
    const int32_t row = i + count - layer.keys;  // of the new rows; below 0: of the old tail
    const float* x = row >= 0 ? row_of(row) : from + int64_t{i + count} * layer.values;
    memmove(to + int64_t{i} * layer.values + c0, x + c0, static_cast<size_t>(c1 - c0) * sizeof(float));
  }
}

}  // namespace

Status short_conv(Model& model, int32_t out_handle, int32_t x_handle, int32_t pool_handle, int32_t layer_index,
                  int32_t weight_handle, int32_t bias_handle, int32_t n) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, x, model, x_handle);
  HW_GET(SlotPool, pool, model, pool_handle);
  HW_GET(Vector, weight, model, weight_handle);
  Result<const SlotLayer*> found = slot_layer(pool, layer_index, SLOT_OF_TAIL);
  if (!found.ok) return Status{false};
  const SlotLayer& layer = *found.value;
  HW_TRY(check_rows(out, n, "out"));
  HW_TRY(check_rows(x, n, "x"));
  HW_TRY(check_pass(model, pool, n));
  const int32_t columns = layer.values, taps = layer.keys + 1;
  if (x.cols != columns || out.cols != columns || overlap(out, x, n) || weight.length != int64_t{taps} * columns) {
    return bad_argument("a convolution of %d columns into %d, %d weights for %d taps", x.cols, out.cols, weight.length,
                        taps);
  }
  const float* bias = nullptr;
  if (bias_handle != 0) {
    HW_GET(Vector, vector, model, bias_handle);
    if (vector.length != columns) return bad_argument("a bias of %d values", vector.length);
    bias = vector.data();
  }
  for (int32_t r = 0; r < pool.run_count; r++) {
    const SlotRun& run = *pool.run(r);
    for (int32_t t = run.t0; run.keep >= 0 && t < run.t1; t++) {
      memcpy(pool.kept_row(run.keep, layer, t - run.t0), x.row(t), static_cast<size_t>(columns) * sizeof(float));
    }
  }
  const int32_t parts = (columns + kConvColumns - 1) / kConvColumns;
  return over_runs(model, pool, parts, int64_t{kConvColumns} * taps, [&](const SlotRun& run, int32_t part) {
    const int32_t c0 = part * kConvColumns, c1 = std::min(columns, c0 + kConvColumns);
    float* to = pool.state(run.to, layer);
    const float* from = to;
    if (run.from >= 0) {
      from = pool.state(run.from, layer);
    } else {
      for (int32_t i = 0; i < layer.keys; i++) clear(to + int64_t{i} * columns + c0, c1 - c0);
    }
    for (int32_t t = run.t0; t < run.t1; t++) {
      const float* rows[kMostTaps];
      for (int32_t i = 0; i < taps; i++) {
        const int32_t row = t - layer.keys + i;
        rows[i] = (row >= run.t0 ? x.row(row) : from + int64_t{t - run.t0 + i} * columns) + c0;
      }
      const float* added = bias == nullptr ? nullptr : bias + c0;
      model.kernels().conv(rows, weight.data() + c0, columns, taps, added, out.row(t) + c0, c1 - c0);
    }
    auto row_of = [&](int32_t row) { return x.row(run.t0 + row); };
    for (int32_t m = run.m0; m < run.m1; m++) {
      shift_tail(layer, from, pool.state(pool.mark(m)->slot, layer), c0, c1, pool.mark(m)->t + 1 - run.t0, row_of);
    }
    shift_tail(layer, from, to, c0, c1, run.t1 - run.t0, row_of);
  });
}

Status replay(Model& model, int32_t pool_handle, int32_t from, int32_t to, int32_t keep, int32_t rows) {
  HW_GET(SlotPool, pool, model, pool_handle);
  if (from < -1 || from >= pool.slots || to < 0 || to >= pool.slots || from == to || keep < 0 || keep >= pool.keeps ||
      rows < 1 || rows > kKeptRows) {
    return bad_argument("%d rows of place %d from slot %d into %d", rows, keep, from, to);
  }
  for (const SlotLayer& layer : pool.layers) {
    float* state = pool.state(to, layer);
    const float* old = from < 0 ? nullptr : pool.state(from, layer);
    if (layer.kind == SLOT_OF_BLOCK) {
      replay_block(model, pool, layer, old, state, keep, rows);
      continue;
    }
    if (layer.kind == SLOT_OF_TAIL) {
      if (old == nullptr) clear(state, int64_t{layer.keys} * layer.values);
      shift_tail(layer, old == nullptr ? state : old, state, 0, layer.values, rows,
                 [&](int32_t row) { return pool.kept_row(keep, layer, row); });
      continue;
    }
    const int32_t strips = (layer.values + kStrip - 1) / kStrip;
    model.pool().parallel_for(int64_t{layer.heads} * strips, [&](int64_t part, int) {
      const int32_t head = static_cast<int32_t>(part / strips), c0 = static_cast<int32_t>(part % strips) * kStrip;
      auto row_of = [&](int32_t i, float**) {
        const float* k = pool.kept_row(keep, layer, i);
        const float* v = k + int64_t{layer.key_heads} * layer.keys;
        const float* decay = v + int64_t{layer.heads} * layer.values;
        return RecurRow{nullptr, k, v, decay, decay + int64_t{layer.heads} * layer.decays};
      };
      run_strip(model.kernels(), layer, head, c0, kStrip, old, state, rows, nullptr, row_of,
                [](int32_t, int64_t, int32_t) {});
    });
  }
  return done();
}

}  // namespace ops
}  // namespace hw
