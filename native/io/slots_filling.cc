// Filling: free slots get experts while the disk has nothing else to do.
#include <stdint.h>

#include <algorithm>

#include "slots.h"

namespace hw {

// What experts are filled by: those that passes asked for most first, and of equals those of all layers in turn.
void ExpertSlots::remember(Slice<const float> uses) {
  int32_t most = 0;
  for (const Group& group : groups_) most = std::max(most, group.experts);
  fill_order_.reserve(slot_of_.size());
  for (int32_t expert = 0; expert < most; expert++) {
    for (size_t g = 0; g < groups_.size(); g++) {
      if (expert < groups_[g].experts) fill_order_.push_back(Filled{static_cast<int32_t>(g), expert});
    }
  }
  if (uses.length == 0) return;
  const auto of = [&](const Filled& f) { return uses.data[groups_[static_cast<size_t>(f.group)].first + f.expert]; };
  std::stable_sort(fill_order_.begin(), fill_order_.end(),
                   [&](const Filled& a, const Filled& b) { return of(a) > of(b); });
  // As if passes had gone on asking with these shares: what is added each time and fades by half has this sum.
  constexpr float kLn2 = 0.6931472f;
  const float passes = policy_.half_life_passes / kLn2;
  for (int64_t i = 0; i < uses.length; i++) uses_[static_cast<size_t>(i)] = uses.data[i] * passes;
}

// A free slot of a class, -1: none. They are taken from the newest on and stay where they are in the order of use: what
// is filled first is what goes last, as long as nobody uses it, and misses find the free ones that are left at the old
// end.
int32_t ExpertSlots::free_slot(Class& c) const {
  for (; c.fill_next >= c.first; c.fill_next--) {
    const Slot& slot = slots_[static_cast<size_t>(c.fill_next)];
    if (slot.state == State::empty && !slot.wanted) return c.fill_next--;
  }
  return -1;
}

// Makes sure that a read of filling is in the queue; false: there is nothing to be filled, or nothing to fill it with.
bool ExpertSlots::load_filling() {
  if (fill_loads_taken_ < fill_loads_.size()) return true;
  for (; fill_at_ < fill_order_.size(); fill_at_++) {
    const Filled next = fill_order_[fill_at_];
    const Group& group = groups_[static_cast<size_t>(next.group)];
    if (slot_of_[static_cast<size_t>(group.first + next.expert)] >= 0) continue;
    const int32_t slot = free_slot(classes_[static_cast<size_t>(group.size_class)]);
    if (slot < 0) continue;
    fill_loads_.clear();
    fill_loads_taken_ = 0;
    fill(slot, next.group, next.expert, fill_loads_);
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
