// The verbs of src/ops/ops.ts. Arguments are those of src/native/addon.types.ts; every one checks all of them before it
// touches anything. Threads split output rows or (row, head) items, never a reduction: results do not depend on them.
#pragma once
#include "../model.h"
#include "../slice.h"

namespace hw {
namespace ops {

// --- pass.cc
Status begin(Model& model, int32_t count, Slice<const int32_t> ids, Slice<const int32_t> positions,
             Slice<const int32_t> sequences, int32_t sequence_count, const SliceList<const int32_t>& tables,
             Slice<const int32_t> blocks_per_sequence);
// `by` of LookupBy: rows of the table by what the pass says of each row, or those given; of these -1: zeros.
Status embed(Model& model, int32_t out, int32_t weight, int32_t n, float scale, int32_t by, Slice<const int32_t> given);
Status gather(Model& model, int32_t out, int32_t x, Slice<const int32_t> indices);
Status copy(Model& model, int32_t out, int32_t x, int32_t n);

// --- elementwise.cc
Status rms_norm(Model& model, int32_t out, int32_t x, int32_t vector, int32_t n, float eps);
Status head_norm(Model& model, int32_t x, int32_t vector, int32_t n, int32_t heads, int32_t head_dim, float eps);
Status rope(Model& model, int32_t x, int32_t n, int32_t heads, int32_t head_dim, int32_t table);
// out = act(gate) * up. A limit bounds up to both sides and the gate from above: before its SiLU, or after it where
// the limit is negative; 0: none.
void apply_glu(const Kernels& kernels, int32_t kind, float limit, float* gate, float* up, float* out, int64_t n);
Status glu(Model& model, int32_t out, int32_t gate, int32_t up, int32_t n, int32_t kind, float limit);
Status add(Model& model, int32_t y, int32_t x, int32_t n);
Status scale(Model& model, int32_t x, float factor, int32_t n);
Status softcap(Model& model, int32_t x, float cap, int32_t n);

// --- values.cc
// x = act(x), n values.
void apply_act(const Kernels& k, int32_t kind, float* x, int64_t n);
Status layer_norm(Model& model, int32_t out, int32_t x, int32_t weight, int32_t bias, int32_t n, float eps);
Status act(Model& model, int32_t x, int32_t n, int32_t kind);
Status multiply(Model& model, int32_t y, int32_t x, int32_t n);
Status multiply_vector(Model& model, int32_t x, int32_t vector, int32_t n);
Status add_vector(Model& model, int32_t x, int32_t vector, int32_t n);
Status columns(Model& model, int32_t out, int32_t x, int32_t to, int32_t from, int32_t count, int32_t n);
Status blend(Model& model, int32_t out, Slice<const int32_t> parts, int32_t weights, int32_t streams, int32_t n);
Status stream_scores(Model& model, int32_t out, Slice<const int32_t> parts, int32_t vector, int32_t n, float eps);
Status head_dots(Model& model, int32_t out, int32_t x, int32_t y, int32_t n);
Status hyper_weights(Model& model, int32_t pre, int32_t mix, int32_t x, int32_t scale, int32_t base, int32_t n,
                     int32_t iterations, float eps);
Status pool(Model& model, int32_t out, int32_t x, int32_t n, int32_t kind);

// --- row_values.cc
Status temper(Model& model, int32_t x, int32_t n, double scale, double length, double offset);
Status centre_heads(Model& model, int32_t x, int32_t n, int32_t heads, int32_t head_dim, float eps);
Status xielu(Model& model, int32_t x, int32_t n, float positive, float negative, float linear, float limit);
Status sparsify(Model& model, int32_t x, int32_t n, float deviations);
Status match_size(Model& model, int32_t x, int32_t like, int32_t n);

// --- matmul.cc
Status matmul(Model& model, Slice<const int32_t> products, int32_t x, int32_t n);

// --- low_rank.cc
// Columns [first, first + rows of b) of out: out = b (a x) for all n rows; or, where some rows are named, ascending,
// out = fma(factor, b (a x), out) for those alone. x 0: a has a row for each token id.
Status low_rank(Model& model, int32_t out, int32_t first, int32_t x, int32_t a, int32_t b, int32_t n,
                Slice<const int32_t> rows, Slice<const float> factors);

// --- kv.cc, attention.cc, attention_selected.cc
Status kv_store(Model& model, int32_t pool, int32_t layer, int32_t k, int32_t v, int32_t n);
// Keys of rows [from, to) of a page of a layer, turned by these angles and stored again; between passes.
Status kv_turn(Model& model, int32_t pool, int32_t layer, int32_t page, int32_t from, int32_t to,
               Slice<const double> cosines, Slice<const double> sines, bool interleaved, int32_t first);
// The first rows of a page to another one, all layers.
Status kv_copy_rows(Model& model, int32_t pool, int32_t from, int32_t to, int32_t rows);
Status attention(Model& model, int32_t out, int32_t q, int32_t pool, int32_t layer, int32_t n, int32_t heads,
                 float scale, int32_t window, float softcap, int32_t sinks, int32_t reach, int32_t slopes,
                 int32_t selection, int32_t carry, int32_t part);
// The best positions of each row, ascending, -1 behind them; select.cc. Weights 0: ones. `expand`: of a pool whose rows
// are of several positions, the positions of the best rows, and those behind the last whole one.
Status select(Model& model, int32_t out, int32_t q, int32_t weights, int32_t pool, int32_t layer, int32_t n,
              bool expand);

// --- route.cc, experts.cc
// The first expert whose logit is not a finite number, in the first row that has one; -1: none. `table`: the experts of
// each token, which are taken instead of the best; -2 where it names one that is not there, or one twice.
Result<int32_t> route(Model& model, int32_t out, int32_t logits, int32_t n, int32_t score, bool renormalize,
                      float scale, int32_t bias, int32_t factors, int32_t groups, int32_t groups_used, int32_t table);
// `on_input`: the weight of a pair multiplies what goes into its expert. `pairs`: matrices beside those of the experts,
// with factors for each row (expert_pairs.h).
Status experts(Model& model, int32_t out, int32_t x, int32_t routing, int32_t n, Slice<const int32_t> weights,
               int32_t kind, float limit, bool on_input, Slice<const int32_t> pairs, Slice<const float> factors);
// The experts of `gate` that a call to come will probably want: read ahead where they lie in slots.
Status expect_experts(Model& model, int32_t routing, int32_t n, int32_t gate);

// The row table of passes of up to `rows` rows, and a block table of so many entries for each pool.
Status reserve_rows(Model& model, int64_t rows);
Status reserve_tables(Model& model, Slice<const int32_t> entries);

// --- checks.cc
Status check_rows(const Tensor& x, int32_t n, const char* name);
// Whether the first n rows of two tensors share memory: places in an arena may.
bool overlap(const Tensor& a, const Tensor& b, int32_t n);
Status check_pass_rows(Model& model, int32_t n);
Status cancelled();

// Below this many values (or bytes of weight) handing work over costs more than doing it.
constexpr int64_t kInlineValues = 16 * 1024;

}  // namespace ops
}  // namespace hw
