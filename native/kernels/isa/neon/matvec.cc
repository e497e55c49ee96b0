// The few-row matmul of NEON: one source per family of block layouts.
#include "../../kernels.h"

namespace hw {

void fill_neon_matvec(Kernels* k) {
  fill_neon_matvec_q32(k);
  fill_neon_matvec_k(k);
  fill_neon_matvec_grid(k);
  fill_neon_matvec_float(k);
  fill_neon_quantize(k);
}

}  // namespace hw
