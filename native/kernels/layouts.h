// How the bytes of a weight follow from its shape: planes of cells of equal size, cut into slices. The words are
// explained in src/formats/layouts.ts, the tables are generated (boundary.h). Nothing else counts bytes of rows.
#pragma once
#include <stdint.h>

#include "kernels.h"

namespace hw {

struct Layout {
  int32_t id;  // of a type of blocks; -1: described
  const char* name;
  bool by_inputs;  // some inputs of all rows are contiguous; else some rows of all inputs
  ActKind acts;
  int32_t planes, cut;  // the first `cut` of them are cut into slices, the others are needed whole
  PlaneLayout plane[kMostPlanes];
  // The type whose kernels multiply it (kernels.h); null: layouts of several planes.
  const DtypeInfo* blocks;
  UnitKind units;  // of those: which kernels
  LayoutForm form;
};

const Layout* layout_of(int32_t id);           // of a type of blocks; null for one without kernels
const Layout* layout_named(const char* name);  // any of layouts(), or null
// Types of blocks, and one of each kind of several planes.
const Layout* layouts(int* count);
// From LAYOUT_NUMBERS, then LAYOUT_PLANE_NUMBERS for each plane. False: nothing that kernels can take.
bool describe_layout(const double* numbers, int64_t count, Layout* out);

// What a matrix is cut into where part of it is in memory.
struct Slices {
  int64_t count, step;               // step: output rows of a slice, or inputs of a slice by inputs
  int64_t plane_bytes[kMostPlanes];  // of a slice; 0 in whole planes
  int64_t bytes;                     // sum of plane_bytes
  int64_t whole_bytes[kMostPlanes];  // of a whole plane, of one expert; 0 in the others
  int64_t whole;                     // sum of whole_bytes
};
// False when rows and cols are not whole slices, or their bytes are beyond any memory.
bool slices_of(const Layout& layout, int64_t rows, int64_t cols, Slices* out);

// Slices [from, to) of a matrix that are in memory: where each plane's share of them begins, and whole planes.
struct Piece {
  const uint8_t* plane[kMostPlanes];
  int64_t from, to;
};

}  // namespace hw
