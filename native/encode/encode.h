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

struct Encoders {
  void (*encode[DTYPE_SLOTS])(const EncodeRows& rows);       // null where no encoder is
  void (*feedback[DTYPE_SLOTS])(const FeedbackRows& rows);   // null where a type has none
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

// Those for the kernels of `isa`, a name as in Kernels::isa.
const Encoders& encoders_for(const char* isa);

}  // namespace hw
