#include <algorithm>

#include "../kernels/packed.h"
#include "products.h"

namespace hw {
namespace ops {

Status matmul(Model& model, Slice<const int32_t> products, int32_t x_handle, int32_t n) {
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(x, n, "x"));
  if (products.length % kProductNumbers != 0 || products.length > kProductNumbers * kMostProducts) {
    return bad_argument("products are at most %d times [out, weight, bias, into, along, heads]", kMostProducts);
  }
  int32_t count = static_cast<int32_t>(products.length / kProductNumbers);
  ProductTask tasks[kMostProducts];
  unsigned kinds = 0;
  for (int32_t i = 0; i < count; i++) {
    const int32_t *product = products.data + kProductNumbers * i, *first = products.data;
    HW_GET(Tensor, out, model, product[0]);
    HW_GET(WeightObject, object, model, product[1]);
    const Weight& w = object.weight;
    HW_TRY(check_rows(out, n, "out"));
    if (overlap(out, x, n)) return bad_argument("out of product %d is its own input", i);
    const int32_t into = product[3], heads = product[5];
    const bool transposed = product[4] != 0;
    if (into < 0 || into >= INTO_KINDS || heads < 1 || heads != first[5] || (heads > 1 && product[4] != first[4])) {
      return bad_argument("product %d: into %d, %d heads", i, into, heads);
    }
    if (into >= INTO_GLU && (i == 0 || transposed || tasks[i - 1].transposed || tasks[i - 1].into != INTO_STORE)) {
      return bad_argument("product %d has no gate", i);
    }
    // The gate is what the product before it made.
    for (int32_t j = 0; j < i; j++) {
      const bool gate = into >= INTO_GLU && j == i - 1;
      if ((first[kProductNumbers * j] == product[0]) != gate) {
        return bad_argument("the outs of products %d and %d", j, i);
      }
    }
    const int64_t stacked = w.experts * heads;
    const bool fits = w.rows % heads == 0 && (w.experts == 1 || (transposed && heads == 1)) &&
                      (transposed ? w.experts * w.rows == x.cols && stacked * w.cols == out.cols
                                  : heads * w.cols == x.cols && w.rows == out.cols);
    if (!fits || (heads > 1 && w.packed && w.rows / heads % kStripRows != 0)) {
      return bad_argument("product %d: %lld weights of %lld x %lld between %d and %d columns", i,
                          static_cast<long long>(w.experts), static_cast<long long>(w.rows),
                          static_cast<long long>(w.cols), x.cols, out.cols);
    }
    const float* bias = nullptr;
    if (product[2] != 0) {
      HW_GET(Vector, vector, model, product[2]);
      if (vector.length != out.cols) return bad_argument("product %d: a bias of %d values", i, vector.length);
      bias = vector.data();
    }
    kinds |= transposed ? 1u << ACTS_F32 : kind_bit(w);
    tasks[i] = product_task(w, 0, nullptr, nullptr, n, out.data(), out.cols, bias, into);
    tasks[i].transposed = transposed;
    tasks[i].heads = heads;
  }
  if (n == 0 || count == 0) return done();
  if (model.cancelled()) return cancelled();
  Acts acts[3];
  // Of heads each share of a row is an activation row of its own; along the other axis nothing is quantized.
  const int32_t heads = tasks[0].transposed ? 1 : tasks[0].heads, cols = x.cols / heads;
  HW_TRY(prepare_acts(model, model.scratch().acts, x.data(), cols, n * heads, cols, kinds, acts));
  for (int32_t i = 0; i < count; i++)
    tasks[i].acts = &acts[tasks[i].transposed ? ACTS_F32 : tasks[i].weight->layout->acts];
  return run_products(model, tasks, count);
}

}  // namespace ops
}  // namespace hw
