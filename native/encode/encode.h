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

struct Encoders {
  void (*encode[DTYPE_SLOTS])(const EncodeRows& rows);  // null where no encoder is
};

void fill_portable_encode(Encoders* e);
void fill_avx2_encode(Encoders* e);
void fill_avx512_encode(Encoders* e);

// Those for the kernels of `isa`, a name as in Kernels::isa.
const Encoders& encoders_for(const char* isa);

}  // namespace hw
