// A pair of matrices in place of one, or beside it: what adapters and factorised weights are made of. Rows that are not
// named are not touched, so their bits are those of a model without the pair.
#include <algorithm>

#include "../resources.h"
#include "products.h"

namespace hw {
namespace ops {

namespace {

// So many rows wait for their place at a time; the second matrix is small, and read again for the next.
constexpr int32_t kAddedRows = kGluRows / 8;

Status check_pair(const Weight& a, const Weight& b, const Tensor& out, int32_t first) {
  if (a.experts != 1 || b.experts != 1 || a.layout->by_inputs || b.layout->by_inputs) {
    return bad_argument("a pair of stacked matrices");
  }
  if (first < 0 || b.rows > out.cols - first) {
    return bad_argument("columns %d + %lld of %d", first, static_cast<long long>(b.rows), out.cols);
  }
  return done();
}

// Ascending: no row is written by two threads.
Status check_chosen(Slice<const int32_t> rows, Slice<const float> factors, int32_t n) {
  if (rows.length != factors.length || rows.length > n) {
    return bad_argument("%lld rows with %lld factors of %d", static_cast<long long>(rows.length),
                        static_cast<long long>(factors.length), n);
  }
  for (int64_t i = 0; i < rows.length; i++) {
    if (rows.data[i] < 0 || rows.data[i] >= n || (i > 0 && rows.data[i] <= rows.data[i - 1])) {
      return bad_argument("row %d of %d", rows.data[i], n);
    }
  }
  return done();
}

// low [count][cols of a]: the rows of a that the token ids name.
Status look_up(Model& model, const Weight& a, const int32_t* rows, int32_t count, float* low) {
  const int32_t* ids = model.pass().ids();
  for (int32_t i = 0; i < count; i++) {
    const int32_t id = ids[rows == nullptr ? i : rows[i]];
    if (id < 0 || id >= a.rows) {
      return bad_argument("token id %d, the table has %lld rows", id, static_cast<long long>(a.rows));
    }
    HW_TRY(dequantize_row(model.kernels(), a, 0, id, low + i * a.cols));
  }
  return done();
}

// out = fma(factor, sum, out), each row where it belongs.
void add_rows(Model& model, const float* sums, int64_t cols, const int32_t* rows, const float* factors, int32_t count,
              Tensor& out, int32_t first) {
  const Kernels& k = model.kernels();
  auto one = [&](int64_t i, int) { k.axpy(sums + i * cols, factors[i], out.row(rows[i]) + first, cols); };
  if (count * cols < kInlineValues) {
    for (int32_t i = 0; i < count; i++) one(i, 0);
  } else {
    model.pool().parallel_for(count, one);
  }
}

}  // namespace

Status low_rank(Model& model, int32_t out_handle, int32_t first, int32_t x_handle, int32_t a_handle, int32_t b_handle,
                int32_t n, Slice<const int32_t> rows, Slice<const float> factors) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(WeightObject, a_object, model, a_handle);
  HW_GET(WeightObject, b_object, model, b_handle);
  const Weight &a = a_object.weight, &b = b_object.weight;
  HW_TRY(check_rows(out, n, "out"));
  HW_TRY(check_pair(a, b, out, first));
  HW_TRY(check_chosen(rows, factors, n));
  const bool all = rows.length == 0, by_ids = x_handle == 0;
  const int32_t count = all ? n : static_cast<int32_t>(rows.length);
  const int64_t rank = b.cols;
  if ((by_ids ? a.cols : a.rows) != rank) {
    return bad_argument("a pair of ranks %lld and %lld", static_cast<long long>(by_ids ? a.cols : a.rows),
                        static_cast<long long>(rank));
  }
  if (by_ids) HW_TRY(check_pass_rows(model, n));
  const float* input = nullptr;
  int32_t cols = 0;
  if (!by_ids) {
    HW_GET(Tensor, x, model, x_handle);
    HW_TRY(check_rows(x, n, "x"));
    if (x.cols != a.cols) {
      return bad_argument("a pair over %lld columns, not %d", static_cast<long long>(a.cols), x.cols);
    }
    if (overlap(out, x, n)) return bad_argument("out is its own input");
    input = x.data();
    cols = x.cols;
  }
  if (count == 0) return done();
  if (model.cancelled()) return cancelled();
  // What comes by inputs has its sums here; a pair does not.
  const int64_t added = all ? 0 : std::min<int64_t>(count, kAddedRows) * b.rows;
  HW_TRY(model.grow(model.scratch().sums, (count * rank + added) * static_cast<int64_t>(sizeof(float))));
  float* low = model.scratch().sums.as<float>();
  Acts acts[3];
  if (by_ids) {
    HW_TRY(look_up(model, a, all ? nullptr : rows.data, count, low));
  } else {
    HW_TRY(prepare_acts(model, model.scratch().acts, input, cols, n, cols, kind_bit(a), acts));
    ProductTask task = product_task(a, 0, &acts[a.layout->acts], all ? nullptr : rows.data, count, low, rank, nullptr,
                                    INTO_STORE);
    HW_TRY(run_products(model, &task, 1));
  }
  const int32_t width = static_cast<int32_t>(rank);
  if (all) {
    HW_TRY(prepare_acts(model, model.scratch().acts, low, width, count, width, kind_bit(b), acts));
    ProductTask task = product_task(b, 0, &acts[b.layout->acts], nullptr, count, out.data() + first, out.cols, nullptr,
                                    INTO_STORE);
    return run_products(model, &task, 1);
  }
  float* const sums = low + count * rank;
  for (int32_t from = 0; from < count; from += kAddedRows) {
    const int32_t some = std::min(count - from, kAddedRows);
    HW_TRY(prepare_acts(model, model.scratch().acts, low + from * rank, width, some, width, kind_bit(b), acts));
    ProductTask task = product_task(b, 0, &acts[b.layout->acts], nullptr, some, sums, b.rows, nullptr, INTO_STORE);
    HW_TRY(run_products(model, &task, 1));
    add_rows(model, sums, b.rows, rows.data + from, factors.data + from, some, out, first);
  }
  return done();
}

}  // namespace ops
}  // namespace hw
