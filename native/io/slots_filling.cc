// Filling: free slots get experts while the disk has nothing else to do.
#include <stdint.h>

#include "slots.h"

namespace hw {

// The oldest free slot of a class, -1: none near the old end, where free ones are.
int32_t ExpertSlots::free_slot(const Class& c) const {
  int64_t scan = policy_.most_scanned;
  for (int32_t i = c.oldest; i >= 0 && scan > 0; i = slots_[static_cast<size_t>(i)].newer, scan--) {
    const Slot& slot = slots_[static_cast<size_t>(i)];
    if (slot.state == State::empty && !slot.wanted) return i;
  }
  return -1;
}

// Makes sure that a read of filling is in the queue; false: there is nothing to be filled, or nothing to fill it with.
bool ExpertSlots::load_filling() {
  if (fill_loads_taken_ < fill_loads_.size()) return true;
  const int64_t groups = static_cast<int64_t>(groups_.size());
  int64_t most = 0;
  for (const Group& group : groups_) most = std::max<int64_t>(most, group.experts);
  for (; fill_at_ < most * groups; fill_at_++) {
    const int32_t index = static_cast<int32_t>(fill_at_ % groups), expert = static_cast<int32_t>(fill_at_ / groups);
    const Group& group = groups_[static_cast<size_t>(index)];
    if (expert >= group.experts || slot_of_[static_cast<size_t>(group.first + expert)] >= 0) continue;
    Class& size_class = classes_[static_cast<size_t>(group.size_class)];
    if (size_class.full) continue;
    const int32_t slot = free_slot(size_class);
    size_class.full = slot < 0;
    if (size_class.full) continue;
    fill_loads_.clear();
    fill_loads_taken_ = 0;
    fill(slot, index, expert, fill_loads_);
    slots_[static_cast<size_t>(slot)].filling = true;
    fill_at_++;
    return true;
  }
  return false;
}

// The reader asks here when no other feed has anything to be read. While passes run few reads are under way, so that
// the next miss finds the disk nearly idle.
bool ExpertSlots::take_filling(ReadJob* job) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (policy_.filling_reads == 0) return false;
  const bool resting = std::chrono::steady_clock::now() - used_ > kRest;
  if (fill_reads_ >= (resting ? reader_.depth() : policy_.filling_reads) || !load_filling()) return false;
  *job = job_of(fill_loads_[fill_loads_taken_++], kFillTag);
  fill_reads_++;
  return true;
}

// A slot that is wanted now: when it is being filled, its reads that have not begun go to the front.
bool ExpertSlots::expect_of_filling(Slot& slot, int32_t index) {
  if (!slot.filling) return false;
  slot.filling = false;
  if (fill_loads_taken_ < fill_loads_.size() && fill_loads_.back().slot == index) {
    loads_.insert(loads_.end(), fill_loads_.begin() + static_cast<ptrdiff_t>(fill_loads_taken_), fill_loads_.end());
    fill_loads_.clear();
    fill_loads_taken_ = 0;
  }
  return true;
}

}  // namespace hw
