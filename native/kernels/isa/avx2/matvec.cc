// The few-row matmul of AVX2: one source per family of block layouts.
#include "../../kernels.h"

namespace hw {

void fill_avx2_matvec(Kernels* k) {
  fill_avx2_matvec_q32(k);
  fill_avx2_matvec_k(k);
  fill_avx2_matvec_grid(k);
  fill_avx2_matvec_float(k);
  fill_avx2_quantize(k);
  fill_avx2_units(k);
}

}  // namespace hw
