// Attention kernels for NEON: body/attention.inl over this ISA's vocabulary.
#include "vec.h"

#include "../../body/attention.inl"

namespace hw {

void fill_neon_attention(Kernels* k) { fill_attention(k); }

}  // namespace hw
