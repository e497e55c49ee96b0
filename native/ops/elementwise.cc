// Verbs whose values depend on one row at most: norms, RoPE, GLU, sums.
#include <math.h>

#include <algorithm>

#include "../kernels/float_math.h"
#include "over.h"

namespace hw {
namespace ops {

namespace {

Status same_shape(const Tensor& a, const Tensor& b, int32_t n) {
  if (a.cols != b.cols) return bad_argument("tensors of %d and %d columns", a.cols, b.cols);
  HW_TRY(check_rows(a, n, "the first tensor"));
  return check_rows(b, n, "the second tensor");
}

}  // namespace

Status rms_norm(Model& model, int32_t out_handle, int32_t x_handle, int32_t vector, int32_t n, float eps) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(same_shape(out, x, n));
  Result<const float*> weight = optional_vector(model, vector, x.cols);
  if (!weight.ok) return Status{false};
  const Kernels& k = model.kernels();
  over_rows(model, n, x.cols, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++) k.rms_norm(x.row(t), weight.value, out.row(t), x.cols, eps);
  });
  return done();
}

Status head_norm(Model& model, int32_t x_handle, int32_t vector, int32_t n, int32_t heads, int32_t head_dim,
                 float eps) {
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(x, n, "x"));
  if (heads < 1 || head_dim < 1 || static_cast<int64_t>(heads) * head_dim != x.cols) {
    return bad_argument("%d heads of %d values in %d columns", heads, head_dim, x.cols);
  }
  Result<const float*> weight = optional_vector(model, vector, head_dim);
  if (!weight.ok) return Status{false};
  const Kernels& k = model.kernels();
  over_rows(model, n, x.cols, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++) {
      for (int32_t h = 0; h < heads; h++) {
        float* head = x.row(t) + static_cast<int64_t>(h) * head_dim;
        k.rms_norm(head, weight.value, head, head_dim, eps);
      }
    }
  });
  return done();
}

namespace {

// Once per pass and table: angle = position * frequency and its cosine in double, rounded to f32, times the magnitude.
void fill_angles(Model& model, RopeTable& table) {
  Pass& pass = model.pass();
  if (table.pass == pass.number) return;
  const double* frequencies = table.frequencies.as<double>();
  // A sine costs about as much as 16 simple operations.
  over_rows(model, pass.count, int64_t{32} * table.pairs, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++) {
      double position = std::max(pass.positions()[t] - table.back, 0);
      for (int32_t i = 0; i < table.pairs; i++) {
        double angle = position * frequencies[i];
        table.cos(t)[i] = static_cast<float>(cos(angle)) * table.magnitude;
        table.sin(t)[i] = static_cast<float>(sin(angle)) * table.magnitude;
      }
    }
  });
  table.pass = pass.number;
}

}  // namespace

Status rope(Model& model, int32_t x_handle, int32_t n, int32_t heads, int32_t head_dim, int32_t table_handle) {
  HW_GET(Tensor, x, model, x_handle);
  HW_GET(RopeTable, table, model, table_handle);
  HW_TRY(check_rows(x, n, "x"));
  HW_TRY(check_pass_rows(model, n));
  if (heads < 1 || head_dim < 1 || static_cast<int64_t>(heads) * head_dim != x.cols) {
    return bad_argument("%d heads of %d values in %d columns", heads, head_dim, x.cols);
  }
  if (int64_t{table.first} + table.pairs * 2 > head_dim) {
    return bad_argument("%d pairs behind %d values in a head of %d values", table.pairs, table.first, head_dim);
  }
  if (model.pass().count > table.max_rows) {
    return bad_argument("a pass of %d rows, the rope table has room for %d", model.pass().count, table.max_rows);
  }
  fill_angles(model, table);
  const Kernels& k = model.kernels();
  over_rows(model, n, x.cols, [&](int64_t t0, int64_t t1) {
    for (int64_t t = t0; t < t1; t++) {
      for (int32_t h = 0; h < heads; h++) {
        k.rope(x.row(t) + static_cast<int64_t>(h) * head_dim + table.first, table.cos(t), table.sin(t), table.pairs * 2,
               table.interleaved);
      }
    }
  });
  return done();
}

void apply_glu(const Kernels& kernels, int32_t kind, float limit, float* gate, float* up, float* out, int64_t n) {
  if (limit == 0) {
    kernels.glu[kind](gate, up, out, n);
    return;
  }
  const float most = fabsf(limit);
  if (limit < 0) apply_act(kernels, ACT_SILU, gate, n);
  for (int64_t i = 0; i < n; i++) {
    gate[i] = min_f32(gate[i], most);
    up[i] = max_f32(min_f32(up[i], most), -most);
  }
  if (limit < 0) {
    for (int64_t i = 0; i < n; i++) out[i] = gate[i] * up[i];
  } else {
    kernels.glu[kind](gate, up, out, n);
  }
}

Status glu(Model& model, int32_t out_handle, int32_t gate_handle, int32_t up_handle, int32_t n, int32_t kind,
           float limit) {
  HW_GET(Tensor, out, model, out_handle);
  HW_GET(Tensor, gate, model, gate_handle);
  HW_GET(Tensor, up, model, up_handle);
  HW_TRY(same_shape(gate, up, n));
  HW_TRY(same_shape(out, up, n));
  if (kind < 0 || kind >= GLU_KINDS || (limit != 0 && kind != GLU_SILU)) return bad_argument("GLU kind %d", kind);
  const Kernels& k = model.kernels();
  over_values(model, static_cast<int64_t>(n) * gate.cols, [&](int64_t i0, int64_t i1) {
    apply_glu(k, kind, limit, gate.data() + i0, up.data() + i0, out.data() + i0, i1 - i0);
  });
  return done();
}

Status add(Model& model, int32_t y_handle, int32_t x_handle, int32_t n) {
  HW_GET(Tensor, y, model, y_handle);
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(same_shape(y, x, n));
  const Kernels& k = model.kernels();
  over_values(model, static_cast<int64_t>(n) * x.cols,
              [&](int64_t i0, int64_t i1) { k.add(x.data() + i0, y.data() + i0, i1 - i0); });
  return done();
}

Status scale(Model& model, int32_t x_handle, float factor, int32_t n) {
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(x, n, "x"));
  const Kernels& k = model.kernels();
  over_values(model, static_cast<int64_t>(n) * x.cols,
              [&](int64_t i0, int64_t i1) { k.scale(x.data() + i0, factor, i1 - i0); });
  return done();
}

Status softcap(Model& model, int32_t x_handle, float cap, int32_t n) {
  HW_GET(Tensor, x, model, x_handle);
  HW_TRY(check_rows(x, n, "x"));
  if (!(cap > 0)) return bad_argument("the cap must be positive");
  const Kernels& k = model.kernels();
  over_values(model, static_cast<int64_t>(n) * x.cols,
              [&](int64_t i0, int64_t i1) { k.softcap(x.data() + i0, cap, i1 - i0); });
  return done();
}

}  // namespace ops
}  // namespace hw
