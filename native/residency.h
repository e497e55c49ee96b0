// Weights that are not mapped: pinned memory, the ring, expert slots and the reader that fills them. All of it follows
// from one placement, which a plan decided; names and arguments are those of src/native/addon.types.ts.
#pragma once
#include <memory>

#include "io/pinned.h"
#include "io/ring.h"
#include "io/slots.h"
#include "model.h"
#include "slice.h"

namespace hw {

struct Residency {
  // Reads of others go on; those into what follows end first.
  ~Residency() {
    if (reader == nullptr) return;
    if (slots != nullptr) {
      reader->remove(&slots->filling());
      reader->remove(slots.get());
    }
    if (ring != nullptr) reader->remove(ring.get());
  }

  PinnedMemory pinned;
  std::unique_ptr<Ring> ring;
  std::unique_ptr<ExpertSlots> slots;
  std::shared_ptr<Reader> reader;       // the machine's
  std::atomic<int64_t> bytes_read{0};   // for this model
};

// Where weights go. Weights are handles, slices those of a matrix.
struct Placement {
  int32_t engine, depth;         // an IoEngine, reads in flight
  Slice<const int32_t> pinned;   // [weight, slices] each: the leading ones; of stacked experts all
  bool packed;                   // what is pinned is packed where the kernels of its type gain by it
  int64_t ring_bytes;
  Slice<const int32_t> tiles;    // [weight, from, to] each, in the order of use; they begin where pinned slices end
  Slice<const int32_t> groups;   // [n, n weights] each: the matrices of a layer's experts
  Slice<const int32_t> classes;  // [slots, n, n groups of equal size] each
  int64_t staging_bytes;
  Slice<const double> policy;    // by PolicyNumber; of groups only
  Slice<const float> uses;       // of groups' experts, by earlier passes (io/slots.h); empty when nobody knows
  bool lock;                     // tries mlock
};

// Reads what stays and begins to read ahead; returns the name of what reads. A model is placed once, before seal();
// when that fails it is as it was. NATIVE_ARGUMENT, MEMORY_BUDGET, FILE_IO, MODEL_CHANGED, CANCELLED.
Result<const char*> place(Model& model, const Placement& placement);

// At any time: so many reads in flight from now on, at most Reader::kSpare times what was placed with.
Status reader_depth(Model& model, int32_t depth);
// Gives memory back that only makes reading smoother.
Status residency_shrink(Model& model);
Status residency_counters(Model& model, Slice<double> out);
// Of experts in slots, group after group: how many passes of few rows asked for each; returns how many there were.
Result<int64_t> expert_uses(Model& model, Slice<float> out);

}  // namespace hw
