// Many matrix products in one parallel region: what matmul and experts are made of.
#pragma once
#include <type_traits>

#include "ops.h"

namespace hw {
namespace ops {

// From here on a result is gated: out = act(out) * result, one place for each GluKind.
constexpr int32_t INTO_GLU = INTO_ADD + 1;
static_assert(INTO_KINDS == INTO_GLU + GLU_KINDS, "src/native/boundary.ts");

// out[t * out_stride + r] (+)= dot(row r of `expert`'s matrix, activation row pick[t]) + bias[r], t in [0, n).
// Transposed, for all experts e of the weight: out[t * out_stride + e * cols + c] (+)= sum of x[e * rows + r] *
// w[e][r][c] + bias. With heads the rows of a plain matrix are as many matrices, and each has its own share of the
// activations: activation rows are [n][heads], so those of a head are `heads` apart.
struct ProductTask {
  const Weight* weight;
  int64_t expert;
  const Acts* acts;     // of the kind the weight's type multiplies with
  const int32_t* pick;  // null: pick[t] = t
  int32_t n;
  float* out;
  int64_t out_stride;
  const float* bias;  // [rows] or null
  int32_t into;
  bool transposed;               // acts are f32
  const uint8_t* const* planes;  // the expert's matrix when it lies apart from the weight: an expert slot; or null
  int32_t heads;                 // at least 1

  // The result waits somewhere else before it meets what is in `out`.
  bool joins() const { return into != INTO_STORE; }

  // Set by run_products for each region: rows that take part in it, rows per part, parts before this task.
  int64_t rows, step, first_part;
  // Set where this task gates what that one makes and both are in memory: a part is of both, that one's first.
  const ProductTask* gate;
  // Set by run_products where sums grow piece by piece: those so far [n][sums_stride], `out` unless the task joins.
  float* sums;
  int64_t sums_stride;
};
// A call has an array for as many as there may be: it costs nothing before it is filled.
static_assert(std::is_trivially_default_constructible<ProductTask>::value, "no values of its own");
static_assert(sizeof(ProductTask) == kProductTaskBytes, "src/native/boundary.ts");

// A task of plain rows: not transposed, the matrix where its weight has it.
inline ProductTask product_task(const Weight& weight, int64_t expert, const Acts* acts, const int32_t* pick, int32_t n,
                                float* out, int64_t out_stride, const float* bias, int32_t into) {
  ProductTask task = {};
  task.weight = &weight;
  task.expert = expert;
  task.acts = acts;
  task.pick = pick;
  task.n = n;
  task.out = out;
  task.out_stride = out_stride;
  task.bias = bias;
  task.into = into;
  task.heads = 1;
  return task;
}

// Activation rows in every form that `kinds` (bits of 1 << ActKind) names; acts[kind] is filled for those.
Status prepare_acts(Model& model, ActBuffers& buffers, const float* x, int64_t stride, int32_t rows, int32_t cols,
                    unsigned kinds, Acts acts[3]);
Status reserve_acts(Model& model, ActBuffers& buffers, int64_t rows, int64_t cols, unsigned kinds);

// Acts over buffers that somebody else fills, range by range, with quantize_range.
void describe_acts(const ActBuffers& buffers, const float* x, int64_t stride, int32_t rows, int32_t cols,
                   ActKind kind, Acts* acts);
// Columns [c0, c1) of a row; c0 is a multiple of 256.
void quantize_range(const Kernels& kernels, const Acts& acts, int64_t row, int64_t c0, int64_t c1);

constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

inline unsigned kind_bit(const Weight& weight) { return 1u << weight.layout->acts; }

// The next piece of a weight that is not all in memory, in order.
Status next_piece(const Weight& w, int64_t expert, int64_t slice, Piece* out);

// One transposed product; transposed.cc.
Status run_transposed(Model& model, const ProductTask& task);

// Runs all tasks; CANCELLED when the flag rises. Tasks must not write to the same values.
Status run_products(Model& model, ProductTask* tasks, int32_t count);

}  // namespace ops
}  // namespace hw
