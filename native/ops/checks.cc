#include "ops.h"
#include "over.h"

namespace hw {
namespace ops {

Status check_rows(const Tensor& x, int32_t n, const char* name) {
  if (n < 0 || n > x.rows) return bad_argument("%d rows of %s, which has %d", n, name, x.rows);
  return done();
}

bool overlap(const Tensor& a, const Tensor& b, int32_t n) {
  const float *a0 = a.data(), *b0 = b.data();
  return a0 < b0 + static_cast<int64_t>(n) * b.cols && b0 < a0 + static_cast<int64_t>(n) * a.cols;
}

// For verbs that use the row table.
Status check_pass_rows(Model& model, int32_t n) {
  if (n < 0 || n > model.pass().count) return bad_argument("%d rows of a pass of %d", n, model.pass().count);
  return done();
}

Result<const float*> optional_vector(Model& model, int32_t handle, int64_t length) {
  if (handle == 0) return static_cast<const float*>(nullptr);
  HW_GET(Vector, vector, model, handle);
  if (vector.length != length) {
    return bad_argument("a vector of %d values where %lld are needed", vector.length, static_cast<long long>(length));
  }
  return vector.data();
}

Status cancelled() { return fail("CANCELLED", "stopped by the caller"); }

}  // namespace ops
}  // namespace hw
