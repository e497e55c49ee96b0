#include "../../body/encode.inl"

namespace hw {

void fill_avx512_encode(Encoders* e) { fill_encoders(e); }

}  // namespace hw
