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

void units_int4(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                const int32_t* pick, int32_t n, float* out, int64_t out_stride) {
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

// Groups are named by an index, so each input has a scale and an offset of its own.
struct Int4ActOrder {
  const Layout& layout;
  const UnitGrid& grid;
  enum { kWords, kScales, kOffsets, kIndex };

  int64_t group_of(int64_t input) const {
    const uint32_t named = load<uint32_t>(grid.at[kIndex] + input * grid.input_stride[kIndex]);
    const int64_t last = grid.all_inputs / layout.plane[kScales].cols - 1;
    return named < last ? named : last;
  }
  // By inputs the piece holds all rows, so rows count from its first one either way.
  float scale(int64_t row, int64_t group) const {
    return half_to_float(load<uint16_t>(grid.at[kScales] + (row - grid.first_row) * grid.row_stride[kScales] +
                                        group * grid.input_stride[kScales]));
  }
  int32_t value(int64_t row, int64_t input, int64_t group) const {
    const int64_t down = row - grid.first_row;
    const uint32_t word = load<uint32_t>(grid.at[kWords] + down * grid.row_stride[kWords] +
                                         (input - grid.first_input) / 8 * grid.input_stride[kWords]);
    const uint32_t offsets = load<uint32_t>(grid.at[kOffsets] + down / 8 * grid.row_stride[kOffsets] +
                                            group * grid.input_stride[kOffsets]);
    return static_cast<int32_t>(word >> 4 * (input % 8) & 15) - static_cast<int32_t>(offsets >> 4 * (row % 8) & 15);
  }
};

void units_int4_act_order(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                          const int32_t* pick, int32_t n, float* out, int64_t out_stride) {
  const Int4ActOrder w = {layout, grid};
  for (int64_t unit = grid.first_input; unit < grid.first_input + grid.inputs; unit += kUnitInputs) {
    for (int64_t r = r0; r < r1; r++) {
      float scale[kUnitInputs];
      int32_t value[kUnitInputs];
      for (int i = 0; i < kUnitInputs; i++) {
        const int64_t group = w.group_of(unit + i);
        scale[i] = w.scale(r, group);
        value[i] = w.value(r, unit + i, group);
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

void values_int4_act_order(const Layout& layout, const UnitGrid& grid, int64_t row, int64_t c0, int64_t c1,
                           float* out) {
  const Int4ActOrder w = {layout, grid};
  for (int64_t c = c0; c < c1; c++) {
    const int64_t group = w.group_of(c);
    out[c - c0] = w.scale(row, group) * static_cast<float>(w.value(row, c, group));
  }
}

}  // namespace

int32_t index_plane(const Layout& layout) {
  return layout.units == UNITS_INT4_ACT_ORDER ? Int4ActOrder::kIndex : -1;
}

int64_t wrong_index(const Layout& layout, int64_t inputs, const uint8_t* at) {
  const int64_t groups = inputs / layout.plane[Int4ActOrder::kScales].cols;
  for (int64_t i = 0; i < inputs; i++) {
    if (load<uint32_t>(at + 4 * i) >= groups) return i;
  }
  return -1;
}

void fill_scalar_units(Kernels* k) {
  k->units[UNITS_INT4] = units_int4;
  k->unit_values[UNITS_INT4] = values_int4;
  k->units[UNITS_INT4_ACT_ORDER] = units_int4_act_order;
  k->unit_values[UNITS_INT4_ACT_ORDER] = values_int4_act_order;
}

}  // namespace hw
