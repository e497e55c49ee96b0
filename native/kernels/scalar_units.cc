// The kernels of layouts of several planes in plain loops: what every instruction set must equal bit for bit.
#include <math.h>

#include "unit_cells.h"

namespace hw {
namespace {

void units_integers(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                    const int32_t* pick, int32_t n, float* out, int64_t out_stride, void*) {
  const UnitCells w = {layout, grid};
  for (int64_t unit = grid.first_input; unit < grid.first_input + grid.inputs; unit += kUnitInputs) {
    for (int64_t r = r0; r < r1; r++) {
      int32_t q[kUnitInputs];
      for (int i = 0; i < kUnitInputs; i++) q[i] = w.whole(r, unit + i, unit);
      const float scale = w.scale(r, unit);
      for (int32_t t = 0; t < n; t++) {
        const int64_t row = pick != nullptr ? pick[t] : t;
        const int8_t* const a = acts.q + row * acts.q_stride + unit;
        int32_t isum = 0;
        for (int i = 0; i < kUnitInputs; i++) isum += q[i] * a[i];
        float* const acc = out + t * out_stride + r - r0;
        *acc = fmaf(scale * acts.d[row * acts.d_stride + unit / 32], static_cast<float>(isum), *acc);
      }
    }
  }
}

// Groups are named by an index, or are shorter than units: each input has a scale and an offset of its own.
void units_scattered(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                     const int32_t* pick, int32_t n, float* out, int64_t out_stride, void*) {
  const UnitCells w = {layout, grid};
  const int32_t index = index_plane(layout);
  for (int64_t unit = grid.first_input; unit < grid.first_input + grid.inputs; unit += kUnitInputs) {
    for (int64_t r = r0; r < r1; r++) {
      float scale[kUnitInputs];
      int32_t value[kUnitInputs];
      for (int i = 0; i < kUnitInputs; i++) {
        const int64_t group = w.group_input(unit + i, index);
        scale[i] = w.scale(r, group);
        value[i] = w.whole(r, unit + i, group);
      }
      for (int32_t t = 0; t < n; t++) {
        const int64_t row = pick != nullptr ? pick[t] : t;
        const int8_t* const a = acts.q + row * acts.q_stride + unit;
        const float d = acts.d[row * acts.d_stride + unit / 32];
        float acc = out[t * out_stride + r - r0];
        for (int i = 0; i < kUnitInputs; i++) acc = fmaf(scale[i] * d, static_cast<float>(value[i] * a[i]), acc);
        out[t * out_stride + r - r0] = acc;
      }
    }
  }
}

void values_integers(const Layout& layout, const UnitGrid& grid, int64_t row, int64_t c0, int64_t c1, float* out) {
  const UnitCells w = {layout, grid};
  const int32_t index = index_plane(layout);
  for (int64_t c = c0; c < c1; c++) {
    const int64_t group = w.group_input(c, index);
    out[c - c0] = w.scale(row, group) * static_cast<float>(w.whole(row, c, group));
  }
}

void values_floats(const Layout& layout, const UnitGrid& grid, int64_t row, int64_t c0, int64_t c1, float* out) {
  const UnitCells w = {layout, grid};
  for (int64_t c = c0; c < c1; c++) out[c - c0] = w.product(w.scale(row, c), w.code(row, c));
}

void units_floats(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                  const int32_t* pick, int32_t n, float* out, int64_t out_stride, void*) {
  const int64_t cols = grid.all_inputs;
  constexpr int32_t kTokens = 16;  // for which a row is decoded once
  for (int64_t r = r0; r < r1; r++) {
    for (int32_t t0 = 0; t0 < n; t0 += kTokens) {
      const int32_t count = n - t0 < kTokens ? n - t0 : kTokens;
      float p[kTokens][32] = {};
      for (int64_t k = 0; k < cols; k += 32) {
        const int64_t end = k + 32 < cols ? k + 32 : cols;
        float values[32];
        values_floats(layout, grid, r, k, end, values);
        for (int32_t t = 0; t < count; t++) {
          const float* const x = acts.f32 + (pick != nullptr ? pick[t0 + t] : t0 + t) * acts.f32_stride;
          for (int64_t i = k; i < end; i++) p[t][i - k] = fmaf(values[i - k], x[i], p[t][i - k]);
          for (int64_t i = end; i < k + 32; i++) p[t][i - k] = fmaf(0, 0, p[t][i - k]);
        }
      }
      for (int32_t t = 0; t < count; t++) {
        for (int half = 16; half > 0; half /= 2) {
          for (int i = 0; i < half; i++) p[t][i] += p[t][i + half];
        }
        out[(t0 + t) * out_stride + r - r0] = p[t][0];
      }
    }
  }
}

}  // namespace

int32_t index_plane(const Layout& layout) {
  // The last of the planes, behind scales and offsets.
  const int32_t others = layout.form.offsets == OFFSETS_CONSTANT ? 2 : 3;
  return layout.units == UNITS_INTEGERS_SCATTERED && layout.planes > others ? others : -1;
}

int64_t wrong_index(const Layout& layout, int64_t inputs, const uint8_t* at) {
  const int64_t groups = (inputs - 1) / layout.plane[kScalesPlane].cols + 1;
  for (int64_t i = 0; i < inputs; i++) {
    if (load_as<uint32_t>(at + 4 * i) >= groups) return i;
  }
  return -1;
}

void fill_scalar_units(Kernels* k) {
  k->units[UNITS_INTEGERS] = units_integers;
  k->unit_values[UNITS_INTEGERS] = values_integers;
  k->units[UNITS_INTEGERS_SCATTERED] = units_scattered;
  k->unit_values[UNITS_INTEGERS_SCATTERED] = values_integers;
  k->units[UNITS_FLOATS] = units_floats;
  k->unit_values[UNITS_FLOATS] = values_floats;
}

}  // namespace hw
