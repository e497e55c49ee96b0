#include "parts.h"

#include <algorithm>

namespace hw {
namespace ops {

namespace {

// Bytes of weight in a part: short enough to balance threads and answer a cancel flag, long enough that what a kernel
// does once a call (it puts the activations into its own order) costs little beside them. Within these bounds a thread
// gets some kPartsPerThread parts.
constexpr int64_t kPartBytesLow = 64 * 1024, kPartBytesHigh = 256 * 1024, kPartsPerThread = 32;
// The many-row kernels work on 32 weight rows at a time, and pack the activations once per call: as much work as some
// kPackRows weight rows, whatever their width and the number of token rows.
constexpr int64_t kGemmRows = 32, kGemmRowsHigh = 512, kPackRows = 16;
constexpr int64_t kMostGemmParts = 8;  // of a thread
// Regions of more matrices than this (experts) have enough parts anyway.
constexpr int32_t kFewTasks = 8;

int64_t parts_of(int64_t rows, int64_t step) { return (rows + step - 1) / step; }

int64_t step_for_matvec(Model& model, const ProductTask& task) {
  // A part of a product and its gate is twice as long: each of the two is a call of its own.
  const int64_t row_bytes = task.weight->expert_bytes() / task.weight->rows;
  int64_t share = task.rows * row_bytes / (model.pool().threads() * kPartsPerThread);
  int64_t bytes = std::min(std::max(share, kPartBytesLow), kPartBytesHigh);
  // More token rows multiply the work of each weight byte.
  bytes /= std::max<int64_t>(1, std::min(task.n, 8));
  return std::max<int64_t>(16, bytes / row_bytes / 16 * 16);
}

// Layouts of several planes. By inputs a part is some rows of every row of words: long runs, or each is a page of its
// own.
constexpr int64_t kRunRowsLow = 256, kRunRowsHigh = 2048, kPartsOfRuns = 2;
constexpr int32_t kFewUnitRows = 8;  // from then on kernels work on panels

int64_t step_for_gemm(int threads, int64_t rows, int64_t parts);

int64_t step_for_units(Model& model, const ProductTask& task) {
  const int threads = model.pool().threads();
  if (task.weight->layout->by_inputs) {
    const int64_t share = round_up(parts_of(task.rows, threads * kPartsOfRuns), 64);
    return std::min(std::max(share, kRunRowsLow), kRunRowsHigh);
  }
  if (task.n > kFewUnitRows) return std::max<int64_t>(64, step_for_gemm(threads, task.rows, 4));
  return step_for_matvec(model, task);
}

int64_t step_for_gemm(int threads, int64_t rows, int64_t parts) {
  return std::min(std::max(round_up(parts_of(rows, threads * parts), kGemmRows), kGemmRows), kGemmRowsHigh);
}

// The work of the thread that has most of it when nobody steals, in weight rows.
int64_t longest_share(int threads, const ProductTask* tasks, int32_t count, int64_t step) {
  int64_t parts = 0, longest = 0, done_rows = 0, done_parts = 0;
  for (int32_t i = 0; i < count; i++) parts += parts_of(tasks[i].rows, step);
  for (int thread = 1; thread <= threads; thread++) {
    int64_t end = parts * thread / threads, left = end, before = 0;  // as the pool gives them out
    for (int32_t i = 0; i < count; i++) {
      int64_t taken = std::min(left, parts_of(tasks[i].rows, step));
      before += std::min(tasks[i].rows, taken * step);
      left -= taken;
    }
    longest = std::max(longest, before - done_rows + kPackRows * (end - done_parts));
    done_rows = before;
    done_parts = end;
  }
  return longest;
}

// Small matrices are a few parts, and uneven shares of them were a tenth of a product's time.
int64_t even_step(int threads, const ProductTask* tasks, int32_t count) {
  int64_t total = 0, best = kGemmRowsHigh, least = INT64_MAX;
  for (int32_t i = 0; i < count; i++) total += tasks[i].rows;
  for (int64_t parts = 1; parts <= kMostGemmParts; parts++) {
    int64_t step = step_for_gemm(threads, total, parts), longest = longest_share(threads, tasks, count, step);
    // Shorter parts let a thread that was held up be helped.
    if (longest - longest / 32 > least) continue;
    least = std::min(least, longest);
    best = step;
  }
  return best;
}

}  // namespace

bool uses_gemm(const Kernels& kernels, const ProductTask& task) {
  return task.weight->layout->blocks != nullptr && task.n >= kernels.gemm_min_rows[task.weight->dtype()];
}

void choose_steps(Model& model, ProductTask* tasks, int32_t count) {
  bool gemm = count <= kFewTasks;
  for (int32_t i = 0; i < count; i++) gemm = gemm && (tasks[i].rows == 0 || uses_gemm(model.kernels(), tasks[i]));
  int threads = model.pool().threads();
  int64_t even = gemm ? even_step(threads, tasks, count) : 0;
  for (int32_t i = 0; i < count; i++) {
    ProductTask& task = tasks[i];
    if (task.rows == 0) continue;
    if (gemm) task.step = even;
    else if (uses_gemm(model.kernels(), task)) task.step = std::max<int64_t>(64, step_for_gemm(threads, task.rows, 4));
    else if (task.weight->layout->blocks == nullptr) task.step = step_for_units(model, task);
    else task.step = step_for_matvec(model, task);
    // By inputs results wait in memory of their own.
    if (!task.joins() || task.weight->layout->by_inputs) continue;
    // A gate is as wide as the widest matrices, where short parts would cost more than a large piece of scratch.
    int64_t rows = task.into == INTO_ADD ? kAddRows : kGluRows;
    int64_t most = std::max(kAddValues / task.n, std::min(rows, model.thread_scratch_bytes() / 4 / task.n)) & ~15;
    task.step = std::max<int64_t>(16, std::min(task.step, most));
  }
}

}  // namespace ops
}  // namespace hw
