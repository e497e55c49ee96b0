// For processors without a file of their own, and what the others are held against.
#include "body/encode.inl"

namespace hw {

void fill_portable_encode(Encoders* e) { fill_encoders(e); }

}  // namespace hw
