// The kernels of layouts of several planes in plain loops: what every instruction set must equal bit for bit.
#include <math.h>
#include <string.h>

#include "half.h"
#include "units.h"

namespace hw {
namespace {

template <class T>
T load(const uint8_t* at) {
  T value;
  memcpy(&value, at, sizeof value);
  return value;
}

struct Int4 {
  const Layout& layout;
  const UnitGrid& grid;
  enum { kWords, kScales, kOffsets };

  const uint8_t* cell(int plane, int64_t row, int64_t input) const {
    const PlaneLayout& p = layout.plane[plane];
    return grid.at[plane] + (row - grid.first_row) / p.rows * grid.row_stride[plane] +
           (input - grid.first_input) / p.cols * grid.input_stride[plane];
  }
  uint32_t word(int64_t row, int64_t input) const { return load<uint32_t>(cell(kWords, row, input)); }
  float scale(int64_t row, int64_t input) const { return half_to_float(load<uint16_t>(cell(kScales, row, input))); }
  int32_t offset(int64_t row, int64_t input) const {
    return static_cast<int32_t>(load<uint32_t>(cell(kOffsets, row, input)) >> 4 * (row % 8) & 15);
  }
};

void units_int4(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts, const int32_t* pick,
                int32_t n, float* out, int64_t out_stride) {
  const Int4 w = {layout, grid};
  for (int64_t unit = grid.first_input; unit < grid.first_input + grid.inputs; unit += kUnitInputs) {
    for (int64_t r = r0; r < r1; r++) {
      int8_t q[kUnitInputs];
      for (int i = 0; i < kUnitInputs; i++) q[i] = static_cast<int8_t>(w.word(r, unit + i) >> 4 * (i % 8) & 15);
      const float scale = w.scale(r, unit);
      const int32_t offset = w.offset(r, unit);
      for (int32_t t = 0; t < n; t++) {
        const int64_t row = pick != nullptr ? pick[t] : t, block = unit / 32;
        const int8_t* const a = acts.q + row * acts.q_stride + unit;
        int32_t isum = 0;
        for (int i = 0; i < kUnitInputs; i++) isum += (q[i] - offset) * a[i];
        float* const acc = out + t * out_stride + r - r0;
        *acc = fmaf(scale * acts.d[row * acts.d_stride + block], static_cast<float>(isum), *acc);
      }
    }
  }
}

void values_int4(const Layout& layout, const UnitGrid& grid, int64_t row, int64_t c0, int64_t c1, float* out) {
  const Int4 w = {layout, grid};
  for (int64_t c = c0; c < c1; c++) {
    const int32_t q = static_cast<int32_t>(w.word(row, c) >> 4 * (c % 8) & 15);
    out[c - c0] = w.scale(row, c) * static_cast<float>(q - w.offset(row, c));
  }
}

}  // namespace

void fill_scalar_units(Kernels* k) {
  k->units[UNITS_INT4] = units_int4;
  k->unit_values[UNITS_INT4] = values_int4;
}

}  // namespace hw
