// Products with layouts of several planes, unit by unit: the canonical order of such a layout is that of its units of
// 32 consecutive inputs, ascending, each an exact integer sum added with one fma. The sum so far lies in the output, so
// it is the same whether a piece holds some rows of all inputs or some inputs of all rows.
#pragma once
#include <stdint.h>

#include "kernels.h"
#include "layouts.h"

namespace hw {

// A piece as a kernel walks it. Row r's cell of plane p for input c is
//   at[p] + (r - first_row) / rows_p * row_stride[p] + (c - first_input) / cols_p * input_stride[p]
// but in whole planes the matrix's first row and input are at[p].
struct UnitGrid {
  const uint8_t* at[kMostPlanes];
  int64_t row_stride[kMostPlanes], input_stride[kMostPlanes];
  int64_t first_row, first_input, inputs;
  int64_t all_rows, all_inputs;  // of the matrix
};

// UnitsFn (kernels.h): out[t * out_stride + r - r0] continues over the units of the grid, r in [r0, r1), t in [0, n);
// before the first unit of a matrix the caller puts zeroes there. Acts are those of the whole input.
//   integers            d = scale * d_a; isum = sum (code - offset) * a, in int32; acc = fma(d, (float)isum, acc)
//   integers-scattered  inputs ascending, each of the group that the index names (of one beyond the last: of the last):
//                       acc = fma(scale * d_a, (float)((code - offset) * a), acc)
//   floats              the float dot (kernels.h) of scale * value, each rounded, in the order of rows only: a piece
//                       has all inputs, and out is not continued but written
// UnitValuesFn: values [c0, c1) of a row of the grid, scale * (float)(code - offset) or scale * value.
//   scale   f32: times the form's factor, rounded; e8m0: 2^(e - 128), and e2m1 codes are doubled numbers; nested:
//           table[s] * nested scale, rounded, + factor
//   e4m3    (scale * 256) * (value / 256): halves hold value / 256

// The first input whose index, read from `at`, names a group that is not there, -1: none. For layouts with an index.
int64_t wrong_index(const Layout& layout, int64_t inputs, const uint8_t* at);
// The plane that holds the index, -1: the layout has none.
int32_t index_plane(const Layout& layout);

// The slices [piece.from, piece.to) of a matrix of rows x cols as a grid.
UnitGrid unit_grid(const Layout& layout, const Slices& slices, int64_t rows, int64_t cols, const Piece& piece);

}  // namespace hw
