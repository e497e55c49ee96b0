// Float kernels for AVX2: body/float.inl over this ISA's vocabulary.
#include "vec.h"

#include "../../body/float.inl"

namespace hw {

void fill_avx2_float(Kernels* k) { fill_float(k); }

}  // namespace hw
