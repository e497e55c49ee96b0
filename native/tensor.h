// A weight as the kernels' callers see it: a matrix (or a stack of expert matrices) of one dtype whose bytes live in a
// file mapping, in pinned memory, or come through a ring. Weight bytes never enter V8.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "kernels/kernels.h"

namespace hw {

class DataFile;
class ExpertSlots;

// A run of consecutive rows that is in memory now.
struct RowSpan {
  const uint8_t* data;   // first row of the span
  int64_t row0, row1;    // rows [row0, row1) of the matrix
};

// Where rows of a weight come from when they are not all in memory.
// Spans are handed out in ascending row order; the caller releases each before asking for the next but one.
struct WeightSource {
  virtual ~WeightSource() {}
  // Blocks until the span that begins at `row` of `expert`'s matrix is in memory.
  virtual Status next(int64_t expert, int64_t row, RowSpan* out) = 0;
  virtual void release(const RowSpan& span) = 0;
};

struct Weight {
  Dtype dtype;
  int64_t rows, cols, experts;  // experts == 1 for a plain matrix; storage is [experts][rows][cols]
  int64_t row_bytes;
  const uint8_t* base;          // the tensor in memory, or its first pinned_rows rows, or null
  WeightSource* source;         // of the rows that are not in memory, or null
  int64_t pinned_rows = 0;      // rows at base when there is a source
  bool packed = false;          // of each expert, the rows at base are packed (kernels/packed.h)
  DataFile* file = nullptr;     // where the whole tensor is on disk; null for weights made in memory
  int64_t offset = 0;
  ExpertSlots* slots = nullptr; // holds experts, each with its partners of group slot_group
  int32_t slot_group = 0;

  int64_t bytes() const { return experts * rows * row_bytes; }
  // Leading rows of every expert that lie at base.
  int64_t resident_rows() const { return base == nullptr ? 0 : source == nullptr ? rows : pinned_rows; }
};

}  // namespace hw
