#include "ops.h"

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
Status check_pass_rows(Host& host, int32_t n) {
  if (n < 0 || n > host.pass().count) return bad_argument("%d rows of a pass of %d", n, host.pass().count);
  return done();
}

Status cancelled() { return fail("CANCELLED", "stopped by the caller"); }

}  // namespace ops
}  // namespace hw
