#include "products.h"

#include <string.h>

#include <algorithm>
#include <atomic>

#include "../kernels/units.h"
#include "parts.h"

namespace hw {
namespace ops {

namespace {

// The end of a product: rows [r0, r1) of `sums` [n][stride] get their bias and go where the task wants them.
void finish(const Kernels& k, const ProductTask& task, float* sums, int64_t stride, int64_t r0, int64_t r1) {
  for (int32_t t = 0; t < task.n; t++) {
    float *sum = sums + t * stride, *out = task.out + t * task.out_stride + r0;
    if (task.bias != nullptr) k.add(task.bias + r0, sum, r1 - r0);
    if (task.into == INTO_ADD) k.add(sum, out, r1 - r0);
    if (task.into >= INTO_GLU) k.glu[task.into - INTO_GLU](out, sum, out, r1 - r0);
  }
}

// The activations of one head.
Acts acts_of(const ProductTask& task, int64_t head) {
  Acts acts = *task.acts;
  acts.rows = task.n;
  acts.f32 += head * acts.f32_stride;
  acts.q += head * acts.q_stride;
  acts.d += head * acts.d_stride;
  acts.sums += head * acts.sums_stride;
  for (int64_t* stride : {&acts.f32_stride, &acts.q_stride, &acts.d_stride, &acts.sums_stride}) *stride *= task.heads;
  return acts;
}

// Calls use(acts, r0, r1) for the rows of each head among [r0, r1).
template <class Use>
void each_head(const ProductTask& task, int64_t r0, int64_t r1, Use use) {
  if (task.heads == 1) {
    use(*task.acts, r0, r1);
    return;
  }
  const int64_t each = task.weight->rows / task.heads;
  for (int64_t r = r0; r < r1;) {
    const int64_t head = r / each, end = std::min(r1, (head + 1) * each);
    use(acts_of(task, head), r, end);
    r = end;
  }
}

void zero(float* sums, int64_t stride, int32_t n, int64_t rows) {
  for (int32_t t = 0; t < n; t++) memset(sums + t * stride, 0, static_cast<size_t>(rows) * sizeof(float));
}

// Rows [r0, r1) of a task whose weight comes by inputs: those of the piece are added to the sums so far.
void run_inputs(Model& model, const ProductTask& task, const Piece& piece, int64_t r0, int64_t r1, int thread) {
  const Kernels& k = model.kernels();
  const Weight& w = *task.weight;
  const Layout& layout = *w.layout;
  float* const sums = task.sums + r0;
  if (piece.from == 0) zero(sums, task.sums_stride, task.n, r1 - r0);
  const UnitGrid grid = unit_grid(layout, w.slices, w.rows, w.cols, piece);
  each_head(task, r0, r1, [&](const Acts& acts, int64_t a, int64_t b) {
    k.units[layout.units](layout, grid, a, b, acts, task.pick, task.n, sums + a - r0, task.sums_stride,
                          model.kernel_scratch(thread));
  });
  if (piece.to == w.slices.count) finish(k, task, sums, task.sums_stride, r0, r1);
}

// Rows [r0, r1) of a task, which lie in the piece. Packed rows: r0 is a multiple of kStripRows.
void run_part(Model& model, const ProductTask& task, const Piece& piece, bool packed, int64_t r0, int64_t r1,
              int thread) {
  const Weight& w = *task.weight;
  const Layout& layout = *w.layout;
  if (layout.by_inputs) {
    run_inputs(model, task, piece, r0, r1, thread);
    return;
  }
  const Kernels& k = model.kernels();
  const int64_t rows = r1 - r0;
  float* out = task.joins() ? static_cast<float*>(model.thread_scratch(thread)) : task.out + r0;
  int64_t stride = task.joins() ? rows : task.out_stride;
  if (layout.blocks != nullptr) {
    const Dtype dtype = w.dtype();
    const int64_t row_bytes = w.slices.bytes;
    MatmulFn fn = packed ? k.packed[dtype] : uses_gemm(k, task) ? k.gemm[dtype] : k.matvec[dtype];
    each_head(task, r0, r1, [&](const Acts& acts, int64_t a, int64_t b) {
      const uint8_t* data = piece.plane[0] + (a - piece.from) * row_bytes;
      fn(data, row_bytes, static_cast<int32_t>(b - a), static_cast<int32_t>(w.cols), &acts, task.pick, task.n,
         out + a - r0, stride, model.kernel_scratch(thread));
    });
  } else {
    zero(out, stride, task.n, rows);
    const UnitGrid grid = unit_grid(layout, w.slices, w.rows, w.cols, piece);
    each_head(task, r0, r1, [&](const Acts& acts, int64_t a, int64_t b) {
      k.units[layout.units](layout, grid, a, b, acts, task.pick, task.n, out + a - r0, stride,
                            model.kernel_scratch(thread));
    });
  }
  finish(k, task, out, stride, r0, r1);
}

// Leading slices that are in memory.
int64_t resident(const ProductTask& task) {
  return task.planes != nullptr ? task.weight->slices.count : task.weight->resident;
}

Piece resident_piece(const ProductTask& task) {
  if (task.planes == nullptr) return task.weight->resident_piece(task.expert);
  Piece piece = {{}, 0, task.weight->slices.count};
  for (int32_t p = 0; p < task.weight->layout->planes; p++) piece.plane[p] = task.planes[p];
  return piece;
}

// Output rows to which that many slices contribute.
int64_t rows_of(const Weight& w, int64_t slices) {
  return w.layout->by_inputs ? (slices > 0 ? w.rows : 0) : slices * w.slices.step;
}

int64_t parts_of(int64_t rows, int64_t step) { return (rows + step - 1) / step; }

// Which rows of which task a part of a region is. Where there are memory nodes, the rows of a node lie side by side.
class Cuts {
 public:
  struct Rows {
    int32_t task;
    int64_t from, to;
  };

  Cuts(Model& model, ProductTask* tasks, int32_t count)
      : tasks_(tasks), count_(count), segments_(model.scratch().segments) {
    const int nodes = model.machine().nodes();
    segments_.clear();
    for (int node = 0; node < std::max(1, nodes); node++) {
      for (int32_t i = 0; i < count; i++) {
        ProductTask& task = tasks[i];
        if (nodes < 2) {
          task.first_part = parts_;
          parts_ += task.rows == 0 ? 0 : parts_of(task.rows, task.step);
          continue;
        }
        const int64_t row = node_rows(task.rows, node, nodes), end = node_rows(task.rows, node + 1, nodes);
        if (row == end) continue;
        segments_.push_back(Segment{i, row, end, parts_});
        parts_ += parts_of(end - row, task.step);
      }
    }
  }

  int64_t parts() const { return parts_; }

  Rows rows(int64_t part) const {
    if (segments_.empty()) {
      const ProductTask& task = last_before(tasks_, tasks_ + count_, part);
      const int64_t from = (part - task.first_part) * task.step;
      return Rows{static_cast<int32_t>(&task - tasks_), from, std::min(task.rows, from + task.step)};
    }
    const Segment& segment = last_before(segments_.data(), segments_.data() + segments_.size(), part);
    const int64_t step = tasks_[segment.task].step, from = segment.row + (part - segment.first_part) * step;
    return Rows{segment.task, from, std::min(segment.end, from + step)};
  }

 private:
  // The last whose first part is not after `part`.
  template <class Item>
  static const Item& last_before(const Item* begin, const Item* end, int64_t part) {
    return std::upper_bound(begin, end, part, [](int64_t p, const Item& item) { return p < item.first_part; })[-1];
  }

  const ProductTask* const tasks_;
  const int32_t count_;
  std::vector<Segment>& segments_;  // the model's: nothing is allocated once it has grown
  int64_t parts_ = 0;
};

// The slices of all tasks that are in memory: one region.
Status run_resident(Model& model, ProductTask* tasks, int32_t count) {
  int64_t work = 0, bytes = 0;
  for (int32_t i = 0; i < count; i++) {
    tasks[i].rows = tasks[i].n == 0 || tasks[i].transposed ? 0 : rows_of(*tasks[i].weight, resident(tasks[i]));
    // What it makes is made with the parts of the task behind it.
    if (i > 0 && tasks[i].gate != nullptr) tasks[i - 1].rows = 0;
  }
  choose_steps(model, tasks, count);
  for (int32_t i = 0; i < count; i++) {
    ProductTask& task = tasks[i];
    if (task.rows == 0) continue;
    int64_t held = resident(task) * task.weight->slices.bytes;
    if (task.gate != nullptr) held += resident(*task.gate) * task.gate->weight->slices.bytes;
    bytes += held;
    work += held * task.n;
  }
  model.count_memory_bytes(bytes);
  const Cuts cuts(model, tasks, count);
  std::atomic<bool> stop(false);
  auto part = [&](int64_t index, int thread) {
    if (stop.load(std::memory_order_relaxed)) return;
    if (model.cancelled()) {
      stop.store(true, std::memory_order_relaxed);
      return;
    }
    const Cuts::Rows rows = cuts.rows(index);
    const ProductTask& task = tasks[rows.task];
    for (const ProductTask* one : {task.gate, &task}) {
      if (one == nullptr) continue;
      run_part(model, *one, resident_piece(*one), one->planes == nullptr && one->weight->packed, rows.from,
               rows.to, thread);
    }
  };
  if (work < kInlineValues) {
    for (int64_t i = 0; i < cuts.parts(); i++) part(i, 0);
  } else {
    model.pool().parallel_for(cuts.parts(), part);
  }
  return stop.load() ? cancelled() : done();
}

// What comes through the ring: piece after piece, each in parallel.
Status run_streamed(Model& model, ProductTask& task) {
  const Weight& w = *task.weight;
  std::atomic<bool> stop(false);
  int64_t slice = resident(task);
  while (slice < w.slices.count) {
    if (model.cancelled()) return cancelled();
    Piece piece;
    HW_TRY(next_piece(w, task.expert, slice, &piece));
    if (w.source->in_memory()) model.count_memory_bytes((piece.to - piece.from) * w.slices.bytes);
    task.rows = rows_of(w, piece.to - piece.from);
    choose_steps(model, &task, 1);
    const int64_t step = task.step, first = w.layout->by_inputs ? 0 : piece.from * w.slices.step;
    model.pool().parallel_for((task.rows + step - 1) / step, [&](int64_t part, int thread) {
      if (stop.load(std::memory_order_relaxed) || model.cancelled()) {
        stop.store(true, std::memory_order_relaxed);
        return;
      }
      int64_t r0 = first + part * step, r1 = std::min(first + task.rows, r0 + step);
      run_part(model, task, piece, false, r0, r1, thread);
    });
    w.source->release(piece);
    slice = piece.to;
    if (stop.load()) return cancelled();
  }
  return done();
}

// Outputs of a task.
int64_t width(const ProductTask& task) {
  return task.transposed ? task.weight->experts * task.heads * task.weight->cols : task.weight->rows;
}

// Where sums that grow piece by piece wait for the next one: in the output, or beside it when that is added to.
Status place_sums(Model& model, ProductTask* tasks, int32_t count) {
  int64_t values = 0;
  for (int pass = 0; pass < 2; pass++) {
    if (pass == 1 && values > 0) HW_TRY(model.grow(model.scratch().sums, values * static_cast<int64_t>(sizeof(float))));
    float* next = model.scratch().sums.as<float>();
    for (int32_t i = 0; i < count; i++) {
      ProductTask& task = tasks[i];
      if (!task.weight->layout->by_inputs && !task.transposed) continue;
      task.sums = task.joins() ? next : task.out;
      task.sums_stride = task.joins() ? width(task) : task.out_stride;
      if (!task.joins()) continue;
      if (pass == 0) values += task.n * width(task);
      else next += task.n * width(task);
    }
    if (values == 0) break;
  }
  return done();
}

}  // namespace

Status next_piece(const Weight& w, int64_t expert, int64_t slice, Piece* out) {
  HW_TRY(w.source->next(expert, slice, out));
  if (out->from == slice && out->to > slice && out->to <= w.slices.count) return done();
  w.source->release(*out);
  return fail("INTERNAL", "weight slices came out of order");
}

namespace {

bool whole(const ProductTask& task) { return resident(task) == task.weight->slices.count; }

// Tasks of which none needs another's result, but for gates in memory.
Status run_together(Model& model, ProductTask* tasks, int32_t count);

}  // namespace

Status run_products(Model& model, ProductTask* tasks, int32_t count) {
  int32_t first = 0;
  for (int32_t i = 1; i < count; i++) {
    if (tasks[i].into < INTO_GLU) continue;
    if (whole(tasks[i]) && whole(tasks[i - 1])) {
      tasks[i].gate = &tasks[i - 1];
      continue;
    }
    HW_TRY(run_together(model, tasks + first, i - first));
    first = i;
  }
  return run_together(model, tasks + first, count - first);
}

namespace {

Status run_together(Model& model, ProductTask* tasks, int32_t count) {
  for (int32_t i = 0; i < count; i++) {
    const ProductTask& task = tasks[i];
    if (task.joins()) HW_TRY(model.grow_thread_scratch(std::max<int64_t>(kAddValues, int64_t{16} * task.n) * 4));
    if (task.n > 0 && task.weight->source == nullptr && resident(task) < task.weight->slices.count) {
      return bad_argument("a product with a weight that is not in memory");
    }
  }
  HW_TRY(place_sums(model, tasks, count));
  HW_TRY(run_resident(model, tasks, count));
  for (int32_t i = 0; i < count; i++) {
    if (tasks[i].n == 0) continue;
    if (tasks[i].transposed) {
      HW_TRY(run_transposed(model, tasks[i]));
    } else if (resident(tasks[i]) < tasks[i].weight->slices.count) {
      HW_TRY(run_streamed(model, tasks[i]));
    }
  }
  return model.check_mappings();
}

// --- activations

// Strides that are not a multiple of 4 KiB: rows then fall into different cache sets.
int64_t q_stride(int64_t cols) {
  int64_t stride = round_up(cols, 64);
  return stride % 4096 == 0 ? stride + 64 : stride;
}
int64_t block_of(ActKind kind) { return kind == ACTS_Q8_256 ? 256 : 32; }
int64_t d_stride(ActKind kind, int64_t cols) { return round_up(cols / block_of(kind), 16); }
int64_t sums_stride(int64_t cols) { return round_up(cols / 16, 32); }

}  // namespace

Status reserve_acts(Model& model, ActBuffers& buffers, int64_t rows, int64_t cols, unsigned kinds) {
  for (ActKind kind : {ACTS_Q8_32, ACTS_Q8_256}) {
    if ((kinds & (1u << kind)) == 0) continue;
    HW_TRY(model.grow(buffers.q[kind], rows * q_stride(cols)));
    HW_TRY(model.grow(buffers.d[kind], rows * d_stride(kind, cols) * static_cast<int64_t>(sizeof(float))));
    HW_TRY(model.grow(buffers.sums[kind], rows * sums_stride(cols) * static_cast<int64_t>(sizeof(int16_t))));
  }
  return done();
}

void describe_acts(const ActBuffers& buffers, const float* x, int64_t stride, int32_t rows, int32_t cols, ActKind kind,
                   Acts* acts) {
  *acts = Acts{kind, rows, cols, x, nullptr, nullptr, nullptr, stride, 0, 0, 0};
  if (kind == ACTS_F32) return;
  acts->q = buffers.q[kind].as<int8_t>();
  acts->d = buffers.d[kind].as<float>();
  acts->sums = buffers.sums[kind].as<int16_t>();
  acts->q_stride = q_stride(cols);
  acts->d_stride = d_stride(kind, cols);
  acts->sums_stride = sums_stride(cols);
}

void quantize_range(const Kernels& k, const Acts& acts, int64_t row, int64_t c0, int64_t c1) {
  if (acts.kind == ACTS_F32) return;
  int64_t cols = acts.cols, block = block_of(acts.kind);
  int8_t* q = const_cast<int8_t*>(acts.q) + row * acts.q_stride;
  float* d = const_cast<float*>(acts.d) + row * acts.d_stride;
  int16_t* sums = const_cast<int16_t*>(acts.sums) + row * acts.sums_stride;
  auto quantize = acts.kind == ACTS_Q8_256 ? k.quantize_q8_256 : k.quantize_q8_32;
  quantize(acts.f32 + row * acts.f32_stride + c0, q + c0, d + c0 / block, sums + c0 / 16, c1 - c0);
  if (c1 < cols) return;
  // The buffers serve rows of many widths: what a wider row left behind the end must read as zero.
  memset(q + cols, 0, static_cast<size_t>(acts.q_stride - cols));
  memset(d + cols / block, 0, static_cast<size_t>(acts.d_stride - cols / block) * sizeof(float));
  memset(sums + cols / 16, 0, static_cast<size_t>(acts.sums_stride - cols / 16) * sizeof(int16_t));
}

Status prepare_acts(Model& model, ActBuffers& buffers, const float* x, int64_t stride, int32_t rows, int32_t cols,
                    unsigned kinds, Acts acts[3]) {
  HW_TRY(reserve_acts(model, buffers, rows, cols, kinds));
  for (ActKind kind : {ACTS_F32, ACTS_Q8_32, ACTS_Q8_256}) {
    if ((kinds & (1u << kind)) == 0) continue;
    describe_acts(buffers, x, stride, rows, cols, kind, &acts[kind]);
    if (kind == ACTS_F32) continue;
    const Acts& target = acts[kind];
    constexpr int64_t kStep = 4096;  // columns of a part; a multiple of every block
    int64_t pieces = (cols + kStep - 1) / kStep;
    auto part = [&](int64_t index, int) {
      int64_t c0 = index % pieces * kStep;
      quantize_range(model.kernels(), target, index / pieces, c0, std::min<int64_t>(cols, c0 + kStep));
    };
    if (static_cast<int64_t>(rows) * cols < kInlineValues) {
      for (int64_t i = 0; i < rows * pieces; i++) part(i, 0);
    } else {
      model.pool().parallel_for(rows * pieces, part);
    }
  }
  return done();
}

}  // namespace ops
}  // namespace hw
