// The code books of the IQ1, IQ2 and IQ3 types as the kernels read them: byte k of an entry is its value k. Shared data
// only: an ISA object may name it (see the rule in kernels.h).
#pragma once
#include <stdint.h>

namespace hw {

template <class Entry, int kCount>
struct CodeBook {
  alignas(64) Entry entry[kCount];
};

extern const CodeBook<uint64_t, 256> kGridIQ2_XXS;
extern const CodeBook<uint64_t, 512> kGridIQ2_XS;
extern const CodeBook<uint64_t, 1024> kGridIQ2_S;
extern const CodeBook<uint32_t, 256> kGridIQ3_XXS;
extern const CodeBook<uint32_t, 512> kGridIQ3_S;
extern const CodeBook<uint64_t, 2048> kGridIQ1;  // values -1, 0, 1 with 1 added
extern const CodeBook<uint8_t, 128> kEvenSigns;  // 7 stored sign bits, and an eighth that makes the minus signs even

}  // namespace hw
