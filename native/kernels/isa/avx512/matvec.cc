// The few-row matmul of AVX-512: one source per family of block layouts.
#include "../../kernels.h"

namespace hw {

void fill_avx512_matvec(Kernels* k) {
  fill_avx512_matvec_q32(k);
  fill_avx512_matvec_k(k);
  fill_avx512_matvec_grid(k);
  fill_avx512_matvec_float(k);
}

}  // namespace hw
