// Guesses: what of the layer ahead is read before its router has spoken.
#include <algorithm>

#include "slots.h"

namespace hw {

void ExpertSlots::expect(int32_t group, const int32_t* experts, int32_t rows, int32_t top_k) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    coming_.group = group;
    coming_.list.clear();
    coming_.loaded_from = 0;
    for (int32_t rank = 0; rank < top_k; rank++) {
      for (int32_t row = 0; row < rows; row++) {
        int32_t expert = experts[row * top_k + rank];
        if (rank_of_[static_cast<size_t>(expert)] >= 0) continue;
        rank_of_[static_cast<size_t>(expert)] = rank;
        coming_.list.push_back(Guess{expert, std::min(rank, kRanks - 1)});
      }
    }
    for (const Guess& guess : coming_.list) rank_of_[static_cast<size_t>(guess.expert)] = -1;
    if (open_.group >= 0) return;  // the layer before has not begun: begin() comes back to it
    open_guesses();
  }
  reader_.kick();
}

void ExpertSlots::open_guesses() {
  if (coming_.group < 0) return;
  std::swap(open_, coming_);
  coming_.group = -1;
  const Group& group = groups_[static_cast<size_t>(open_.group)];
  const Class& c = classes_[static_cast<size_t>(group.size_class)];
  // With fewer slots guesses would chase each other and what the layer before still uses.
  const int64_t needed = policy_.slots_per_guess * static_cast<int64_t>(open_.list.size());
  if (c.slots < needed) open_.loaded_from = open_.list.size();
  for (const Guess& guess : open_.list) {
    int32_t found = slot_of_[static_cast<size_t>(group.first + guess.expert)];
    if (found >= 0) slots_[static_cast<size_t>(found)].guessed = true;
  }
}

// Makes sure that a guess's read is in the queue; false: there is nothing to be read.
bool ExpertSlots::load_guess() {
  if (guess_loads_taken_ < guess_loads_.size()) return true;
  if (open_.group < 0) return false;
  const Group& group = groups_[static_cast<size_t>(open_.group)];
  const Class& c = classes_[static_cast<size_t>(group.size_class)];
  while (open_.loaded_from < open_.list.size()) {
    const Guess& guess = open_.list[open_.loaded_from++];
    int64_t at = group.first + guess.expert;
    if (slot_of_[static_cast<size_t>(at)] >= 0 || right_[guess.rank] < policy_.least_right) continue;
    int32_t index = victim(c, scan_of(c), false);
    if (index < 0) return false;
    const Slot& cold = slots_[static_cast<size_t>(index)];
    // As the router's choice it would count once more.
    if (cold.state == State::ready &&
        frequency(groups_[static_cast<size_t>(cold.group)].first + cold.expert) > frequency(at) + 1) {
      continue;
    }
    guess_loads_.clear();
    guess_loads_taken_ = 0;
    fill(index, open_.group, guess.expert, guess_loads_);
    touch(slots_[static_cast<size_t>(index)], index);
    Slot& slot = slots_[static_cast<size_t>(index)];
    slot.guessed = slot.ahead = true;
    return true;
  }
  return false;
}

// The router of `group` has spoken: right guesses get their missing reads at once, wrong ones lose them.
void ExpertSlots::close_guesses(int32_t group_index, const std::vector<Wanted>& wanted) {
  if (open_.group < 0) return;
  const Group& group = groups_[static_cast<size_t>(open_.group)];
  bool known = open_.group == group_index;
  if (known) {
    for (const Wanted& want : wanted) rank_of_[static_cast<size_t>(want.expert)] = 0;
  }
  int32_t left = static_cast<int32_t>(guess_loads_.size() - guess_loads_taken_);
  int32_t left_slot = left > 0 ? guess_loads_.back().slot : -1;
  for (const Guess& guess : open_.list) {
    bool right = rank_of_[static_cast<size_t>(guess.expert)] == 0;
    if (known) right_[guess.rank] += policy_.trust * ((right ? 1.0f : 0.0f) - right_[guess.rank]);
    int32_t index = slot_of_[static_cast<size_t>(group.first + guess.expert)];
    if (index < 0) continue;
    Slot& slot = slots_[static_cast<size_t>(index)];
    slot.guessed = false;
    if (!slot.ahead) continue;
    if (right) {
      if (index == left_slot) loads_.insert(loads_.end(), guess_loads_.end() - left, guess_loads_.end());
    } else {
      stats_.wasted++;
      make_oldest(slot, index);
      if (index == left_slot) {
        // Reads under way still write into its memory.
        slot.pending -= left;
        int32_t pending = slot.pending;
        forget(slot);
        slot.broken = pending > 0;
        if (pending > 0) slot.state = State::reading;
      }
      slot.ahead = false;
    }
  }
  if (known) {
    for (const Wanted& want : wanted) rank_of_[static_cast<size_t>(want.expert)] = -1;
  }
  guess_loads_.clear();
  guess_loads_taken_ = 0;
  open_.group = -1;
}

}  // namespace hw
