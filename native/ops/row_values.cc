// Verbs that a family or two need: each changes rows in place. Plain loops over float_math.h, as in values.cc: the
// same bits on every instruction set.
#include <math.h>

#include "../kernels/float_math.h"
#include "over.h"
#include "row_sums.h"

namespace hw {
namespace ops {

namespace {

// e^x - 1 for x <= 0, without cancellation near 0; -1 where e^x would be subnormal.
float scalar_expm1(float x) {
  x = max_f32(x, -87.0f);
  float r;
  int32_t i;
  exp_reduce(x, &r, &i);
  const float q = __builtin_fmaf(r * r, exp_poly(r), r);
  const float s = bits_float(static_cast<uint32_t>(i + 127) << 23);
  return __builtin_fmaf(s, q, s - 1.0f);
}

template <typename Row>
void each_row(Model& model, int64_t n, int64_t cols, const Row& row) {
  over_rows(model, n, cols, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++) row(t);
  });
}

}  // namespace

// x *= 1 + scale ln(1 + floor((position + offset) / length)), the factor computed in double.
Status temper(Model& model, int32_t x_handle, int32_t n, double scale, double length, double offset) {
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(x, n, "x"));
  HW_TRY(check_pass_rows(model, n));
  if (!(length >= 1)) return bad_argument("a temperature over %g positions", length);
  const Kernels& k = model.kernels();
  each_row(model, n, x.cols, [&](int64_t t) {
    double steps = floor((model.pass().positions()[t] + offset) / length);
    k.scale(x.row(t), static_cast<float>(1.0 + scale * log(1.0 + steps)), x.cols);
  });
  return done();
}

// out[t, h] = the product of the heads' columns of x and y.
Status head_dots(Model& model, int32_t out_handle, int32_t x_handle, int32_t y_handle, int32_t n) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, x, model, x_handle);
  HW_GET(Tensor, y, model, y_handle);
  HW_TRY(check_rows(out, n, "out"));
  HW_TRY(check_rows(x, n, "x"));
  HW_TRY(check_rows(y, n, "y"));
  if (x.cols != y.cols || x.cols % out.cols != 0 || overlap(out, x, n) || overlap(out, y, n)) {
    return bad_argument("%d products of rows of %d", out.cols, x.cols);
  }
  const int64_t dim = x.cols / out.cols;
  each_row(model, n, x.cols, [&](int64_t t) {
    for (int32_t h = 0; h < out.cols; h++) {
      const float *a = x.row(t) + h * dim, *b = y.row(t) + h * dim;
      out.row(t)[h] = dot_of(dim, [&](int64_t i) { return a[i]; }, [&](int64_t i) { return b[i]; });
    }
  });
  return done();
}

// LayerNorm of every head, without weights.
Status centre_heads(Model& model, int32_t x_handle, int32_t n, int32_t heads, int32_t head_dim, float eps) {
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(x, n, "x"));
  if (heads < 1 || head_dim < 1 || int64_t{heads} * head_dim != x.cols) {
    return bad_argument("%d heads of %d values in %d columns", heads, head_dim, x.cols);
  }
  const float count = static_cast<float>(head_dim);
  each_row(model, n, x.cols, [&](int64_t t) {
    for (int32_t h = 0; h < heads; h++) {
      float* head = x.row(t) + int64_t{h} * head_dim;
      float mean = sum_of(head_dim, [&](int64_t i) { return head[i]; }) / count;
      float variance = squares_of(head_dim, [&](int64_t i) { return head[i] - mean; }) / count;
      float inverse = 1.0f / sqrtf(variance + eps);
      for (int32_t i = 0; i < head_dim; i++) head[i] = (head[i] - mean) * inverse;
    }
  });
  return done();
}

// x > 0: positive x^2 + linear x; else negative (expm1(min(x, limit)) - x) + linear x.
Status xielu(Model& model, int32_t x_handle, int32_t n, float positive, float negative, float linear, float limit) {
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(x, n, "x"));
  if (!(limit <= 0)) return bad_argument("xIELU with a limit of %g", static_cast<double>(limit));
  over_values(model, int64_t{n} * x.cols, [&](int64_t i0, int64_t i1) {
    float* values = x.data();
    for (int64_t i = i0; i < i1; i++) {
      const float v = values[i];
      values[i] = v > 0 ? __builtin_fmaf(positive * v, v, linear * v)
                        : __builtin_fmaf(negative, scalar_expm1(min_f32(v, limit)) - v, linear * v);
    }
  });
  return done();
}

// x = max(x - (mean + deviations * deviation), 0) over each row, the deviation that of a sample.
Status sparsify(Model& model, int32_t x_handle, int32_t n, float deviations) {
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(x, n, "x"));
  if (x.cols < 2) return bad_argument("a row of %d values has no deviation", x.cols);
  each_row(model, n, x.cols, [&](int64_t t) {
    float* row = x.row(t);
    float mean = sum_of(x.cols, [&](int64_t k) { return row[k]; }) / static_cast<float>(x.cols);
    float variance = squares_of(x.cols, [&](int64_t k) { return row[k] - mean; }) / static_cast<float>(x.cols - 1);
    float least = __builtin_fmaf(deviations, sqrtf(variance), mean);
    for (int64_t k = 0; k < x.cols; k++) row[k] = max_f32(row[k] - least, 0.0f);
  });
  return done();
}

// Every row of x becomes as long as that of `like`: times |like| / |x|.
Status match_size(Model& model, int32_t x_handle, int32_t like_handle, int32_t n) {
  HW_GET(Tensor, x, model, x_handle);
  HW_GET(Tensor, like, model, like_handle);
  HW_TRY(check_rows(x, n, "x"));
  HW_TRY(check_rows(like, n, "like"));
  if (x.cols != like.cols || overlap(x, like, n)) {
    return bad_argument("tensors of %d and %d columns", x.cols, like.cols);
  }
  const Kernels& k = model.kernels();
  each_row(model, n, x.cols, [&](int64_t t) {
    float wanted = sqrtf(squares_of(x.cols, [&](int64_t i) { return like.row(t)[i]; }));
    float found = sqrtf(squares_of(x.cols, [&](int64_t i) { return x.row(t)[i]; }));
    k.scale(x.row(t), wanted / found, x.cols);
  });
  return done();
}

}  // namespace ops
}  // namespace hw
