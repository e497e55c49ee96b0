// Error feedback: codes are chosen column by column, and what one gets wrong the later ones take over, as far as their
// inputs go together (docs/compress.md). H = X'X of the inputs is held as tiles of 32 x 32, those on and above the
// diagonal, row of tiles by row; of blocks of columns one after the other.
#pragma once
#include <stdint.h>

#include "../threads/pool.h"
#include "encode.h"

namespace hw {

constexpr int kMomentTile = 32;
// Rows that are encoded side by side, and columns of a panel of a factor.
constexpr int kFeedbackRows = 16;
// Columns of a step of a factorization.
constexpr int kFactorStep = 64;

// Sums of a block of `n` columns.
inline int64_t moment_values(int64_t n) {
  const int64_t tiles = n / kMomentTile;
  return tiles * (tiles + 1) / 2 * kMomentTile * kMomentTile;
}

// Columns of a factor lie in panels of sixteen: where coefficient (i, j) of a block of n columns is.
inline int64_t factor_at(int64_t n, int64_t i, int64_t j) { return j / 16 * (n * 16) + i * 16 + j % 16; }

// Columns within which their order is free: a super-block, or 32 of a smaller type.
int64_t feedback_chunk(int32_t dtype);

// Floats that feedback needs as scratch.
inline int64_t feedback_scratch(int64_t block) { return kFeedbackRows * (block + 8 * 256); }

// Floats that integers and repaired columns need as scratch.
inline int64_t integer_scratch(int64_t cols) { return kFeedbackRows * 4 * cols; }

// Adds x'x to `sums`; `panels`: room for rows * cols floats.
void add_moments(const Encoders& e, Pool& pool, const float* x, int64_t rows, int64_t cols, int64_t block,
                 float* panels, float* sums);

// The factor of one block: of H with its off-diagonals times 1 - shrink and `damp` times its mean added to the
// diagonal. order: of the block's columns, from 0. `a`: n * n doubles, `t`: kFactorStep * n doubles.
void make_factor(const Encoders& e, Pool& pool, const float* sums, int64_t n, const int32_t* order, double shrink,
                 double damp, double* a, double* t, float* factor);

}  // namespace hw
