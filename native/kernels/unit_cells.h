// One value of a layout of several planes at a time: what the scalar kernels are made of, and how every instruction set
// reads what it does not read often. Static functions and compiler builtins only, as in half.h.
#pragma once
#include <stdint.h>

#include "blocks.h"
#include "half.h"
#include "units.h"

namespace hw {
namespace {

enum { kValuesPlane, kScalesPlane, kOffsetsPlane, kNestedScalesPlane = 2, kNestedTablePlane = 3 };

// Output row 8 c + j of AWQ is in nibble kAwqNibble[j] of word c.
constexpr uint8_t kAwqNibble[8] = {0, 4, 1, 5, 2, 6, 3, 7};

// The code books of bitsandbytes (formats/decode-planes.ts).
alignas(64) constexpr float kNF4[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
    -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
    0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};
alignas(64) constexpr float kFP4[16] = {
    0.0f, 0.0625f / 12, 8.0f / 12, 1.0f, 4.0f / 12, 0.5f, 2.0f / 12, 0.25f,
    -0.0f, -0.0625f / 12, -8.0f / 12, -1.0f, -4.0f / 12, -0.5f, -2.0f / 12, -0.25f};

template <class T>
inline T load_as(const uint8_t* at) {
  T value;
  __builtin_memcpy(&value, at, sizeof value);
  return value;
}

// A NaN is 480 here, as halves see it; nan_code says which are.
inline float e4m3_to_float(uint8_t code) {
  return half_to_float(static_cast<uint16_t>((code & 128) << 8 | (code & 127) << 7));  // / 256
}
inline float e5m2_to_float(uint8_t code) { return half_to_float(static_cast<uint16_t>(code << 8)); }

struct UnitCells {
  const Layout& layout;
  const UnitGrid& grid;

  const uint8_t* cell(int plane, int64_t row, int64_t input) const {
    const PlaneLayout& p = layout.plane[plane];
    if (p.flat) return grid.at[plane] + (row * grid.all_inputs + input) / p.cols * p.bytes;
    const int64_t down = p.whole ? row : row - grid.first_row, across = p.whole ? input : input - grid.first_input;
    return grid.at[plane] + (p.rows == 0 ? 0 : down / p.rows * grid.row_stride[plane]) +
           (p.cols == 0 ? 0 : across / p.cols * grid.input_stride[plane]);
  }

  // Codes of `bits` bits, low bits first, in a cell.
  static int32_t bits_at(const uint8_t* cell, int64_t at, int32_t bits) {
    int32_t value = 0;
    for (int32_t i = 0; i < bits; i++) value |= (cell[(at + i) / 8] >> (at + i) % 8 & 1) << i;
    return value;
  }

  uint8_t code(int64_t row, int64_t input) const {
    const LayoutForm& form = layout.form;
    const int32_t bits = form.bits;
    if (form.packing == PACKING_AWQ) {
      return load_as<uint32_t>(cell(kValuesPlane, row, input)) >> 4 * kAwqNibble[row % 8] & 15;
    }
    if (form.packing == PACKING_HIGH_FIRST) {
      const uint8_t pair = *cell(kValuesPlane, row, input);
      return input % 2 == 0 ? pair >> 4 : pair & 15;
    }
    if (!layout.by_inputs) {
      const int32_t inputs = layout.plane[kValuesPlane].cols;
      return static_cast<uint8_t>(bits_at(cell(kValuesPlane, row, input), input % inputs * bits, bits));
    }
    // By inputs: `bits` words for 32 inputs of a row, each all rows behind the one before.
    int32_t value = 0;
    for (int32_t i = 0; i < bits; i++) {
      const int64_t at = input % 32 * bits + i, word = (input - grid.first_input) / 32 * bits + at / 32;
      const uint8_t* const bytes = grid.at[kValuesPlane] + 4 * (word * grid.all_rows + row);
      value |= (bytes[at % 32 / 8] >> at % 8 & 1) << i;
    }
    return static_cast<uint8_t>(value);
  }

  // `input`: any of the group.
  float scale(int64_t row, int64_t input) const {
    const LayoutForm& form = layout.form;
    const uint8_t* const at = cell(kScalesPlane, row, input);
    switch (form.scales) {
      case SCALES_F32: return load_as<float>(at) * form.factor;
      case SCALES_F16: return half_to_float(load_as<uint16_t>(at));
      case SCALES_BF16: return bf16_to_float(load_as<uint16_t>(at));
      case SCALES_E8M0: return e8m0_half_to_float(*at);
      default:
        return load_as<float>(grid.at[kNestedTablePlane] + 4 * *at) *
                   load_as<float>(cell(kNestedScalesPlane, row, input)) + form.factor;
    }
  }
  int32_t offset(int64_t row, int64_t input) const {
    const LayoutForm& form = layout.form;
    if (form.offsets == OFFSETS_CONSTANT) return form.addend;
    const uint8_t* const at = cell(kOffsetsPlane, row, input);
    const int32_t group = layout.plane[kScalesPlane].cols;
    if (form.offsets == OFFSETS_GROUPS) return bits_at(at, group == 0 ? 0 : input / group * form.bits % 8, form.bits);
    const int32_t stored = form.offsets == OFFSETS_AWQ
                               ? static_cast<int32_t>(load_as<uint32_t>(at) >> 4 * kAwqNibble[row % 8] & 15)
                               : bits_at(at, row % layout.plane[kOffsetsPlane].rows * form.bits, form.bits);
    return (stored + form.addend) & ((1 << form.bits) - 1);
  }

  // A whole number: code - offset.
  int32_t whole(int64_t row, int64_t input, int64_t group_input) const {
    const uint8_t q = code(row, input);
    const CodeKind codes = layout.form.codes;
    const int32_t value = codes == CODES_SIGNED ? static_cast<int8_t>(q)
                          : codes == CODES_E2M1 ? kValuesMXFP4[q & 15]
                                                : q;
    return value - offset(row, group_input);
  }

  // Of layouts that are floats: scale * value.
  float product(float scale, uint8_t code) const {
    switch (layout.form.codes) {
      case CODES_E4M3: return (code & 127) == 127 ? __builtin_nanf("") : scale * 256.0f * e4m3_to_float(code);
      case CODES_E5M2: return scale * e5m2_to_float(code);
      case CODES_NF4: return scale * kNF4[code & 15];
      default: return scale * kFP4[code & 15];
    }
  }

  // The first input of the group of an input.
  int64_t group_input(int64_t input, int32_t index_plane) const {
    const int64_t group = layout.plane[kScalesPlane].cols;
    if (index_plane < 0) return input;
    const uint32_t named = load_as<uint32_t>(grid.at[index_plane] + input * grid.input_stride[index_plane]);
    const int64_t last = (grid.all_inputs - 1) / group;
    return (named < last ? named : last) * group;
  }
};

}  // namespace
}  // namespace hw
