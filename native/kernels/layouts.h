// How the bytes of a weight follow from its shape: planes of cells of equal size, cut into slices. Mirrors
// src/formats/layouts.ts, where the words are explained; a test compares the tables. Nothing else counts bytes of rows.
#pragma once
#include <stdint.h>

#include "kernels.h"

namespace hw {

constexpr int32_t kMostPlanes = 4;
constexpr int32_t kUnitInputs = 32;  // inputs that are summed as one

// A cell holds the plane's share of `rows` output rows x `cols` inputs.
struct PlaneLayout {
  const char* name;
  int32_t rows, cols, bytes;
};

struct Layout {
  int32_t id;
  const char* name;
  bool by_inputs;  // some inputs of all rows are contiguous; else some rows of all inputs
  ActKind acts;
  int32_t planes;
  PlaneLayout plane[kMostPlanes];
  // The type whose kernels multiply it (kernels.h); null: layouts of several planes.
  const DtypeInfo* blocks;
  UnitKind units;  // of those: which kernels
};

const Layout* layout_of(int32_t id);       // null for one without kernels
const Layout* layouts(int* count);

// What a matrix is cut into where part of it is in memory.
struct Slices {
  int64_t count, step;               // step: output rows of a slice, or inputs of a slice by inputs
  int64_t plane_bytes[kMostPlanes];  // of a slice
  int64_t bytes;                     // sum of plane_bytes
};
// False when rows and cols are not whole slices, or their bytes are beyond any memory.
bool slices_of(const Layout& layout, int64_t rows, int64_t cols, Slices* out);

// Slices [from, to) of a matrix that are in memory: where each plane's share of them begins.
struct Piece {
  const uint8_t* plane[kMostPlanes];
  int64_t from, to;
};

}  // namespace hw
