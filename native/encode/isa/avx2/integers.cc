#include "../../body/integers.inl"

namespace hw {

void fill_avx2_integers(Encoders* e) { fill_integers(e); }

}  // namespace hw
