#include <algorithm>

#include "products.h"

namespace hw {
namespace ops {

Status matmul(Model& model, Slice<const int32_t> products, int32_t x_handle, int32_t n) {
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(x, n, "x"));
  if (products.length % 4 != 0 || products.length > 4 * kMostProducts) {
    return bad_argument("products are at most %d times [out, weight, bias, mode]", kMostProducts);
  }
  int32_t count = static_cast<int32_t>(products.length / 4);
  ProductTask tasks[kMostProducts];
  unsigned kinds = 0;
  for (int32_t i = 0; i < count; i++) {
    const int32_t* product = products.data + 4 * i;
    HW_GET(Tensor, out, model, product[0]);
    HW_GET(WeightObject, object, model, product[1]);
    const Weight& w = object.weight;
    HW_TRY(check_rows(out, n, "out"));
    if (overlap(out, x, n)) return bad_argument("out of product %d is its own input", i);
    for (int32_t j = 0; j < i; j++) {
      if (products.data[4 * j] == product[0]) return bad_argument("products %d and %d have the same out", j, i);
    }
    const int32_t mode = product[3];
    if (mode < 0 || mode > (PRODUCT_ADD | PRODUCT_TRANSPOSED)) return bad_argument("product %d: mode %d", i, mode);
    const bool transposed = (mode & PRODUCT_TRANSPOSED) != 0;
    const bool fits = transposed ? w.experts * w.rows == x.cols && w.experts * w.cols == out.cols
                                 : w.cols == x.cols && w.rows == out.cols && w.experts == 1;
    if (!fits) {
      return bad_argument("product %d: %lld weights of %lld x %lld between %d and %d columns", i,
                          static_cast<long long>(w.experts), static_cast<long long>(w.rows), static_cast<long long>(w.cols),
                          x.cols, out.cols);
    }
    const float* bias = nullptr;
    if (product[2] != 0) {
      HW_GET(Vector, vector, model, product[2]);
      if (vector.length != out.cols) return bad_argument("product %d: a bias of %d values", i, vector.length);
      bias = vector.data();
    }
    kinds |= transposed ? 1u << ACTS_F32 : kind_bit(w);
    const bool add = (mode & PRODUCT_ADD) != 0;
    tasks[i] = ProductTask{&w, 0, nullptr, nullptr, n, out.data(), out.cols, bias, add, transposed};
  }
  if (n == 0 || count == 0) return done();
  if (model.cancelled()) return cancelled();
  Acts acts[3];
  HW_TRY(prepare_acts(model, model.scratch().acts, x.data(), x.cols, n, x.cols, kinds, acts));
  for (int32_t i = 0; i < count; i++) tasks[i].acts = &acts[tasks[i].transposed ? ACTS_F32 : tasks[i].weight->layout->acts];
  return run_products(model, tasks, count);
}

}  // namespace ops
}  // namespace hw
