// Weights that are not mapped: pinned memory, the ring, expert slots and the reader that fills them. Names and arguments
// of the functions are those of src/native/addon.types.ts.
#pragma once
#include <memory>

#include "host.h"
#include "io/pinned.h"
#include "io/ring.h"
#include "io/slots.h"
#include "slice.h"

namespace hw {

struct Residency {
  // Reads of others go on; those into what follows end first.
  ~Residency() {
    if (reader == nullptr) return;
    if (slots != nullptr) reader->remove(slots.get());
    if (ring != nullptr) reader->remove(ring.get());
  }

  struct Pin {
    Weight* weight;
    int64_t slices;
    bool packed;
  };
  PinnedMemory pinned;
  std::vector<Pin> pins;
  std::unique_ptr<Ring> ring;
  std::unique_ptr<ExpertSlots> slots;
  std::shared_ptr<Reader> reader;       // the machine's
  std::atomic<int64_t> bytes_read{0};   // for this model
  bool loaded = false;
};

// engine: 0 the best there is, 1 io_uring if possible, 2 threads. Returns the name of what reads.
Result<const char*> reader_open(Host& host, int32_t engine, int32_t depth);
// At any time: so many reads in flight from now on, at most Reader::kSpare times what it was opened with.
Status reader_depth(Host& host, int32_t depth);
// packed: what is pinned is packed where the kernels of the weight's type gain by it.
Status weight_pin(Host& host, int32_t weight, int64_t slices, bool packed);
Status ring_open(Host& host, int64_t bytes, Slice<const int32_t> tiles);
Status experts_open(Host& host, Slice<const int32_t> groups, Slice<const int32_t> classes, int64_t staging_bytes);
Status residency_load(Host& host, bool lock);
// Gives memory back that only makes reading smoother.
Status residency_shrink(Host& host);
Status residency_stats(Host& host, Slice<double> out);

}  // namespace hw
