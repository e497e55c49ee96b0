// Encoders of the tensor types that GGUF files hold: llama.cpp's bytes for the same values and importance. Each element
// of a sum is added in its order and no multiply-add is fused, so all instruction sets and any number of threads give
// the same file.
#pragma once
#include <stdint.h>

#include "../boundary.h"

namespace hw {

// Rows of `cols` values one after the other; `w` is the importance of each column or null. Values are finite.
struct EncodeRows {
  const float* x;
  int64_t rows, cols;
  const float* w;
  uint8_t* out;
};

// The same with error feedback (feedback.h). `factor`: blocks of `block` columns in the order of `order`; coefficient
// (i, j), i < j, says what j takes over from i, (j, j) what an error of j weighs.
struct FeedbackRows {
  EncodeRows rows;
  const float* factor;
  int64_t block;
  const int32_t* order;
  float* scratch;
};

// Integers of `bits` bits under a scale for each `group` columns, in the order of `order`: codes as the columns stand,
// scales and offsets group by group. Scales are halves; `trials` of them are tried by the errors they make.
struct IntegerRows {
  const float* x;
  int64_t rows, cols;
  int bits;
  int64_t group;
  bool symmetric;
  int trials;
  const float* weights;  // what an error weighs, in the order of `order`
  const float* factor;   // null: each code for itself; else blocks of `block` columns as FeedbackRows has them
  int64_t block;
  const int32_t* order;
  uint8_t* codes;    // [rows][cols]
  float* scales;     // [rows][cols / group]
  uint8_t* offsets;  // [rows][cols / group]
  double* errors;    // [rows] sums of weights (or the factor's) times squares
  float* scratch;
};

// Columns that become zero and what the others become, so that the outputs change least.
struct RepairRows {
  const float* x;
  int64_t rows, cols;
  const float* factor;
  int64_t block;
  const int32_t* order;
  const uint8_t* dropped;  // in the order of `order`; null: of four columns the two that cost least
  float* out;
  double* errors;
  float* scratch;
};

struct Encoders {
  void (*encode[DTYPE_SLOTS])(const EncodeRows& rows);       // null where no encoder is
  void (*feedback[DTYPE_SLOTS])(const FeedbackRows& rows);   // null where a type has none
  void (*integers)(const IntegerRows& rows);
  void (*repair)(const RepairRows& rows);
  // Adds p'q of two panels of 32 columns and `rows` rows to a tile.
  void (*add_tile)(const float* p, const float* q, int64_t rows, float* tile);
  // a[i, j] -= sum over k < count of a[i, from + k] * t[k, j] for eight rows from i and columns first <= j < end; all
  // are multiples of 8, n is the width of a and t.
  void (*take_away)(double* a, int64_t n, int64_t i, int64_t from, int count, const double* t, int64_t first,
                    int64_t end);
};

void fill_portable_encode(Encoders* e);
void fill_avx2_encode(Encoders* e);
void fill_avx512_encode(Encoders* e);
void fill_portable_integers(Encoders* e);
void fill_avx2_integers(Encoders* e);
void fill_avx512_integers(Encoders* e);

// Those for the kernels of `isa`, a name as in Kernels::isa.
const Encoders& encoders_for(const char* isa);

}  // namespace hw
