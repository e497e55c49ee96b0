// What can be asked of placed weights while the model runs.
#include "residency.h"

#include <algorithm>

namespace hw {

Status reader_depth(Model& model, int32_t depth) {
  Reader* reader = model.residency() == nullptr ? nullptr : model.residency()->reader.get();
  if (reader == nullptr || depth < 1 || depth > Reader::kMostDepth) {
    return bad_argument("%d reads in flight", depth);
  }
  reader->set_depth(depth);
  return done();
}

Status residency_shrink(Model& model) {
  if (model.residency() == nullptr || model.residency()->ring == nullptr) return done();
  return model.residency()->ring->shrink();
}

Status residency_counters(Model& model, Slice<double> out) {
  if (out.length != RESIDENCY_COUNTERS) return bad_argument("counters of weights are %d numbers", RESIDENCY_COUNTERS);
  std::fill(out.data, out.data + RESIDENCY_COUNTERS, 0.0);
  const auto set = [&](ResidencyCounter counter, int64_t value) { out.data[counter] = static_cast<double>(value); };
  set(RESIDENCY_BYTES_USED_FROM_MEMORY, model.memory_bytes());
  if (model.residency() == nullptr) return done();
  Residency& residency = *model.residency();
  const auto locked_bytes = [](const PinnedMemory& memory) { return memory.locked() ? memory.bytes() : 0; };
  int64_t locked = locked_bytes(residency.pinned), stall_ns = 0;
  set(RESIDENCY_BYTES_READ, residency.bytes_read.load(std::memory_order_relaxed));
  set(RESIDENCY_PINNED_BYTES, residency.pinned.bytes());
  if (residency.ring != nullptr) {
    const RingStats ring = residency.ring->stats();
    stall_ns += ring.stall_ns;
    set(RESIDENCY_TILES, ring.tiles);
    set(RESIDENCY_RING_BYTES, residency.ring->memory().bytes());
    locked += locked_bytes(residency.ring->memory());
  }
  if (residency.slots != nullptr) {
    const SlotStats slots = residency.slots->stats();
    stall_ns += slots.stall_ns;
    set(RESIDENCY_EXPERT_HITS, slots.hits);
    set(RESIDENCY_EXPERT_MISSES, slots.misses);
    set(RESIDENCY_EXPERT_BYTES_READ, slots.bytes);
    set(RESIDENCY_EXPERTS_READ_AHEAD, slots.ahead);
    set(RESIDENCY_EXPERTS_READ_FOR_NOTHING, slots.wasted);
    set(RESIDENCY_SLOT_BYTES_FILLED, slots.filled_bytes);
    set(RESIDENCY_SLOT_BYTES, residency.slots->slot_bytes());
    set(RESIDENCY_STAGING_BYTES, residency.slots->staging_bytes());
    locked += locked_bytes(residency.slots->slot_memory()) + locked_bytes(residency.slots->staging_memory());
  }
  set(RESIDENCY_STALL_NS, stall_ns);
  set(RESIDENCY_LOCKED_BYTES, locked);
  return done();
}

Result<int64_t> expert_uses(Model& model, Slice<float> out) {
  if (model.residency() == nullptr || model.residency()->slots == nullptr) return bad_argument("no experts in slots");
  return model.residency()->slots->asked(out);
}

}  // namespace hw
