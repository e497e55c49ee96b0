// A weight as the kernels' callers see it: a matrix (or a stack of expert matrices) of one dtype whose bytes live in a
// file mapping, in pinned memory, or come through a ring. Weight bytes never enter V8.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

namespace hw {

// A run of consecutive rows that is in memory now.
struct RowSpan {
  const uint8_t* data;   // first row of the span
  int64_t row0, row1;    // rows [row0, row1) of the matrix
};

// Where rows of a weight come from when they are not all in memory (streaming ring, expert slots).
// Spans are handed out in ascending row order; the caller releases each before asking for the next but one.
struct WeightSource {
  virtual ~WeightSource() {}
  // Blocks until the next span of `expert`'s matrix is in memory. False: no more rows, or failed() is set.
  virtual bool next(int64_t expert, int64_t row, RowSpan* out) = 0;
  virtual void release(const RowSpan& span) = 0;
};

struct Weight {
  Dtype dtype;
  int64_t rows, cols, experts;  // experts == 1 for a plain matrix; storage is [experts][rows][cols]
  int64_t row_bytes;
  const uint8_t* base;          // whole tensor in memory, or null
  WeightSource* source;         // used when base is null
};

}  // namespace hw
