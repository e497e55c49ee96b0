// Float kernels for NEON: body/float.inl over this ISA's vocabulary.
#include "vec.h"

#include "../../body/float.inl"

namespace hw {

void fill_neon_float(Kernels* k) { fill_float(k); }

}  // namespace hw
