// Attention kernels for AVX-512: body/attention.inl over this ISA's vocabulary.
#include "vec.h"

#include "../../body/attention.inl"

namespace hw {

void fill_avx512_attention(Kernels* k) { fill_attention(k); }

}  // namespace hw
