// For processors without a file of their own, and what the others are held against.
#include "body/integers.inl"

namespace hw {

void fill_portable_integers(Encoders* e) { fill_integers(e); }

}  // namespace hw
