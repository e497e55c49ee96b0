#include "slots.h"
#include "liveness.h"

#include <math.h>

#include <algorithm>
#include <chrono>

namespace hw {

namespace {

typedef std::chrono::steady_clock Clock;
constexpr std::chrono::milliseconds kPoll(20);

}  // namespace

Status read_policy(Slice<const double> numbers, SlotPolicy* out) {
  if (numbers.length != POLICY_NUMBERS) return bad_argument("a policy of expert slots is %d numbers", POLICY_NUMBERS);
  const double* n = numbers.data;
  const auto whole = [&](PolicyNumber which, double least) { return n[which] >= least && n[which] <= 1e9; };
  const auto share = [&](PolicyNumber which) { return n[which] >= 0 && n[which] <= 1; };
  if (!(n[POLICY_HALF_LIFE_PASSES] > 0 && n[POLICY_HALF_LIFE_PASSES] <= 1e9) || !share(POLICY_LEAST_RIGHT) ||
      !share(POLICY_TRUST) || !whole(POLICY_OLD_SHARE, 1) || !whole(POLICY_MOST_SCANNED, 1) ||
      !whole(POLICY_EVICTING_ROWS, 0) || !whole(POLICY_SLOTS_PER_GUESS, 0) || !whole(POLICY_FILLING_READS, 0)) {
    return bad_argument("a policy of expert slots out of range");
  }
  out->half_life_passes = static_cast<float>(n[POLICY_HALF_LIFE_PASSES]);
  out->least_right = static_cast<float>(n[POLICY_LEAST_RIGHT]);
  out->trust = static_cast<float>(n[POLICY_TRUST]);
  out->old_share = static_cast<int32_t>(n[POLICY_OLD_SHARE]);
  out->most_scanned = static_cast<int32_t>(n[POLICY_MOST_SCANNED]);
  out->evicting_rows = static_cast<int32_t>(n[POLICY_EVICTING_ROWS]);
  out->slots_per_guess = static_cast<int32_t>(n[POLICY_SLOTS_PER_GUESS]);
  out->filling_reads = static_cast<int32_t>(n[POLICY_FILLING_READS]);
  return done();
}

Status ExpertSlots::open(const std::vector<std::vector<const Weight*>>& groups,
                         const std::vector<SlotClassSpec>& classes, int64_t staging_bytes, Slice<const float> uses) {
  if (groups.empty()) return bad_argument("expert slots need experts");
  size_t most_segments = 0;
  for (const std::vector<const Weight*>& weights : groups) {
    Group group;
    group.experts = weights.empty() ? 0 : static_cast<int32_t>(weights[0]->experts);
    group.first = static_cast<int64_t>(slot_of_.size());
    for (const Weight* w : weights) {
      if (w->extent(0, 0).file == nullptr || w->experts != group.experts || group.experts > 65536) {
        return bad_argument("matrices of expert group %zu do not belong together", groups_.size());
      }
      for (int32_t p = 0; p < w->layout->planes; p++) group.segments.push_back({w, p});
      group.expert_bytes += w->expert_bytes();
    }
    if (group.segments.empty() || group.segments.size() > kMostExpertSegments) {
      return bad_argument("an expert of %zu segments, at most %d are possible", group.segments.size(),
                          kMostExpertSegments);
    }
    most_segments = std::max(most_segments, group.segments.size());
    slot_of_.resize(slot_of_.size() + static_cast<size_t>(group.experts), -1);
    groups_.push_back(group);
  }
  int32_t most = 0;
  for (const Group& group : groups_) most = std::max(most, group.experts);
  rank_of_.resize(static_cast<size_t>(most), -1);
  for (Guesses* guesses : {&open_, &coming_}) guesses->list.reserve(static_cast<size_t>(most));
  guess_loads_.reserve(most_segments * static_cast<size_t>(most));
  fill_loads_.reserve(most_segments);
  std::fill(right_, right_ + kRanks, 1.0f);
  uses_.resize(slot_of_.size(), 0);
  last_pass_.resize(slot_of_.size(), 0);
  asked_.resize(slot_of_.size(), 0);
  if (uses.length != 0 && uses.length != static_cast<int64_t>(slot_of_.size())) {
    return bad_argument("uses of %lld experts, there are %zu", static_cast<long long>(uses.length), slot_of_.size());
  }
  for (int64_t i = 0; i < uses.length; i++) {
    const bool is_share = uses.data[i] >= 0 && uses.data[i] <= 1;
    if (!is_share) return bad_argument("a use of expert %lld", static_cast<long long>(i));
  }
  remember(uses);

  int64_t bytes = 0, largest = 0;
  for (const SlotClassSpec& spec : classes) {
    Class made;
    for (int32_t g : spec.groups) {
      if (g < 0 || g >= static_cast<int32_t>(groups_.size()) || groups_[static_cast<size_t>(g)].size_class >= 0) {
        return bad_argument("expert group %d of a slot class", g);
      }
      Group& group = groups_[static_cast<size_t>(g)];
      group.size_class = static_cast<int32_t>(classes_.size());
      for (size_t k = 0; k < group.segments.size(); k++) {
        made.segments[k] = std::max(made.segments[k], group.segments[k].room());
      }
      made.groups++;
    }
    for (int64_t segment : made.segments) made.slot_bytes += segment;
    made.slots = spec.slots;
    made.first = static_cast<int32_t>(slots_.size());
    made.fill_next = made.first + spec.slots - 1;
    if (spec.slots < 0 || spec.slots > (1 << 24)) return bad_argument("%d expert slots", spec.slots);
    for (int32_t i = 0; i < spec.slots; i++) {
      Slot slot;
      slot.size_class = static_cast<int32_t>(classes_.size());
      slots_.push_back(slot);
    }
    bytes += made.slots * made.slot_bytes;
    largest = std::max(largest, made.slot_bytes);
    classes_.push_back(made);
  }
  for (const Group& group : groups_) {
    if (group.size_class < 0) return bad_argument("an expert group without a slot class");
  }
  staging_first_ = static_cast<int32_t>(slots_.size());
  int64_t staging = staging_bytes / std::max<int64_t>(1, largest);
  for (const Class& c : classes_) {
    if (c.slots == 0 && staging == 0) {
      return fail("MEMORY_BUDGET", "no room for a single expert of %lld bytes", static_cast<long long>(c.slot_bytes));
    }
  }
  if (!slot_memory_.allocate(bytes) || !staging_memory_.allocate(staging * largest)) {
    return fail("MEMORY_BUDGET", "no memory for %lld bytes of expert slots",
                static_cast<long long>(bytes + staging * largest));
  }
  uint8_t* at = slot_memory_.data();
  for (int32_t i = 0; i < staging_first_; i++) {
    Slot& slot = slots_[static_cast<size_t>(i)];
    slot.memory = at;
    at += classes_[static_cast<size_t>(slot.size_class)].slot_bytes;
    touch(slot, i);
  }
  for (int64_t i = 0; i < staging; i++) {
    Slot slot;
    slot.size_class = -1;
    slot.memory = staging_memory_.data() + i * largest;
    slots_.push_back(slot);
  }
  return done();
}

SlotStats ExpertSlots::stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return stats_;
}

Result<int64_t> ExpertSlots::asked(Slice<float> out) const {
  if (out.length != static_cast<int64_t>(asked_.size())) return bad_argument("uses of %zu experts", asked_.size());
  std::lock_guard<std::mutex> lock(mutex_);
  std::copy(asked_.begin(), asked_.end(), out.data);
  return asking_passes_;
}

void ExpertSlots::unlink(Slot& slot, int32_t index) {
  Class& c = classes_[static_cast<size_t>(slot.size_class)];
  if (slot.older >= 0) slots_[static_cast<size_t>(slot.older)].newer = slot.newer;
  if (slot.newer >= 0) slots_[static_cast<size_t>(slot.newer)].older = slot.older;
  if (c.oldest == index) c.oldest = slot.newer;
  if (c.newest == index) c.newest = slot.older;
  slot.older = slot.newer = -1;
}

// Makes it the newest of its class.
void ExpertSlots::touch(Slot& slot, int32_t index) {
  Class& c = classes_[static_cast<size_t>(slot.size_class)];
  unlink(slot, index);
  slot.older = c.newest;
  if (c.newest >= 0) slots_[static_cast<size_t>(c.newest)].newer = index;
  c.newest = index;
  if (c.oldest < 0) c.oldest = index;
}

void ExpertSlots::make_oldest(Slot& slot, int32_t index) {
  Class& c = classes_[static_cast<size_t>(slot.size_class)];
  unlink(slot, index);
  slot.newer = c.oldest;
  if (c.oldest >= 0) slots_[static_cast<size_t>(c.oldest)].older = index;
  c.oldest = index;
  if (c.newest < 0) c.newest = index;
}

float ExpertSlots::frequency(int64_t at) const {
  float passes = static_cast<float>(static_cast<uint32_t>(pass_) - last_pass_[static_cast<size_t>(at)]);
  return uses_[static_cast<size_t>(at)] * exp2f(-passes / policy_.half_life_passes);
}

int32_t ExpertSlots::victim(const Class& c, int64_t scan, bool guessed_too) const {
  int32_t best = -1;
  float least = 0;
  for (int32_t i = c.oldest; i >= 0; i = slots_[static_cast<size_t>(i)].newer) {
    const Slot& slot = slots_[static_cast<size_t>(i)];
    if (slot.wanted || slot.state == State::reading || (slot.guessed && !guessed_too)) continue;
    if (slot.state == State::empty) return i;
    float uses = frequency(groups_[static_cast<size_t>(slot.group)].first + slot.expert);
    if (best < 0 || uses < least) {
      best = i;
      least = uses;
    }
    if (--scan <= 0) break;
  }
  return best;
}

// A slot for a miss, -1: none now.
int32_t ExpertSlots::find_room(const Item&) {
  const Group& group = groups_[static_cast<size_t>(group_)];
  const Class& c = classes_[static_cast<size_t>(group.size_class)];
  bool staged = staging_first_ < static_cast<int32_t>(slots_.size());
  if (evict_ || !staged) {
    int32_t found = victim(c, scan_of(c), false);
    if (found < 0) found = victim(c, scan_of(c), true);
    if (found >= 0) return found;
  } else if (group.filled < c.slots / c.groups) {
    // Empty slots are the oldest: they were never touched.
    int32_t found = victim(c, 1, false);
    if (found >= 0 && slots_[static_cast<size_t>(found)].state == State::empty) return found;
  }
  for (int32_t i = staging_first_; i < static_cast<int32_t>(slots_.size()); i++) {
    const Slot& slot = slots_[static_cast<size_t>(i)];
    if (!slot.wanted && slot.state != State::reading) return i;
  }
  return -1;
}

void ExpertSlots::forget(Slot& slot) {
  if (slot.group >= 0 && slot.size_class >= 0) {
    Group& group = groups_[static_cast<size_t>(slot.group)];
    slot_of_[static_cast<size_t>(group.first + slot.expert)] = -1;
    group.filled--;
  }
  slot.group = slot.expert = -1;
  slot.state = State::empty;
  slot.guessed = slot.ahead = slot.filling = false;
  slot.failure = nullptr;
}

// The slot's next content; its reads go into the queue.
void ExpertSlots::fill(int32_t index, int32_t group_index, int32_t expert, std::vector<Load>& queue) {
  Slot& slot = slots_[static_cast<size_t>(index)];
  Group& group = groups_[static_cast<size_t>(group_index)];
  forget(slot);
  slot.group = group_index;
  slot.expert = expert;
  slot.state = State::reading;
  slot.pending = static_cast<int32_t>(group.segments.size());
  if (slot.size_class >= 0) {
    slot_of_[static_cast<size_t>(group.first + expert)] = index;
    group.filled++;
  }
  for (int8_t k = 0; k < slot.pending; k++) queue.push_back(Load{index, k});
}

void ExpertSlots::load(Item& item) {
  fill(item.slot, group_, item.wanted.expert, loads_);
  Slot& slot = slots_[static_cast<size_t>(item.slot)];
  if (slot.size_class >= 0) touch(slot, item.slot);
  slot.wanted = true;
  stats_.bytes += groups_[static_cast<size_t>(group_)].expert_bytes;
}

// Gives slots to the items that have none yet, in order. True when reads were added.
bool ExpertSlots::load_more() {
  bool any = false;
  for (; loaded_from_ < items_.size(); loaded_from_++) {
    Item& item = items_[loaded_from_];
    if (item.slot >= 0) continue;
    item.slot = find_room(item);
    if (item.slot < 0) break;
    load(item);
    any = true;
  }
  return any;
}

void ExpertSlots::begin(int32_t group_index, const std::vector<Wanted>& wanted, uint64_t pass, bool evict) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    group_ = group_index;
    pass_ = pass;
    evict_ = evict;
    used_ = Clock::now();
    items_.clear();
    given_ = loaded_from_ = 0;
    loads_.erase(loads_.begin(), loads_.begin() + static_cast<ptrdiff_t>(loads_taken_));
    loads_taken_ = 0;
    close_guesses(group_index, wanted);
    const Group& group = groups_[static_cast<size_t>(group_)];
    if (evict && (asking_passes_ == 0 || asking_pass_ != pass)) {
      asking_passes_++;
      asking_pass_ = pass;
    }
    size_t hits = 0;
    for (const Wanted& want : wanted) {
      Item item;
      item.wanted = want;
      int64_t at = group.first + want.expert;
      uses_[static_cast<size_t>(at)] = frequency(at) + 1;
      if (evict) asked_[static_cast<size_t>(at)]++;
      last_pass_[static_cast<size_t>(at)] = static_cast<uint32_t>(pass_);
      item.slot = slot_of_[static_cast<size_t>(at)];
      if (item.slot >= 0) {
        Slot& slot = slots_[static_cast<size_t>(item.slot)];
        slot.wanted = true;
        touch(slot, item.slot);
        if (slot.ahead || expect_of_filling(slot, item.slot)) {
          slot.ahead = false;
          stats_.misses++;
          stats_.ahead++;
          stats_.bytes += group.expert_bytes;
        } else {
          stats_.hits++;
        }
        items_.insert(items_.begin() + static_cast<ptrdiff_t>(hits++), item);
      } else {
        stats_.misses++;
        items_.push_back(item);
      }
    }
    // What many rows want deserves the free slots.
    if (!evict) {
      std::stable_sort(items_.begin() + static_cast<ptrdiff_t>(hits), items_.end(),
                       [](const Item& a, const Item& b) { return a.wanted.rows > b.wanted.rows; });
    }
    load_more();
    open_guesses();
  }
  reader_.kick();
}

bool ExpertSlots::take(ReadJob* job) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (loads_taken_ < loads_.size()) {
    *job = job_of(loads_[loads_taken_++], 0);
    return true;
  }
  // What the router asks for next must not queue behind a full disk.
  if (guess_reads_ >= std::max(1, reader_.depth() / 2) || !load_guess()) return false;
  *job = job_of(guess_loads_[guess_loads_taken_++], kGuessTag);
  guess_reads_++;
  return true;
}

ReadJob ExpertSlots::job_of(const Load& load, uint64_t flags) const {
  const Slot& slot = slots_[static_cast<size_t>(load.slot)];
  const Group& group = groups_[static_cast<size_t>(slot.group)];
  const Group::Segment& segment = group.segments[static_cast<size_t>(load.segment)];
  uint8_t* memory = slot.memory;
  for (int k = 0; k < load.segment; k++) memory += classes_[static_cast<size_t>(group.size_class)].segments[k];
  return widened(segment.weight->extent(segment.plane, slot.expert).file, segment.offset(slot.expert), segment.bytes(),
                 memory, static_cast<uint64_t>(load.slot) | flags);
}

void ExpertSlots::finished(const ReadJob& job, const IoFailure* failure) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if ((job.tag & kGuessTag) != 0) guess_reads_--;
    if ((job.tag & kFillTag) != 0) {
      fill_reads_--;
      stats_.filled_bytes += job.bytes;
      // Whoever needs it will be told; there is no use in going on.
      if (failure != nullptr) fill_at_ = fill_order_.size();
    }
    Slot& slot = slots_[static_cast<size_t>(job.tag & ~(kGuessTag | kFillTag))];
    if (failure != nullptr) slot.failure = std::make_shared<IoFailure>(*failure);
    if (--slot.pending > 0) return;
    if (slot.broken) {
      slot.broken = false;
      forget(slot);
    }
    slot.state = slot.group < 0 ? State::empty : State::ready;
    slot.filling = false;
    // Nobody may find what was not read; whoever waits for it is told.
    if (slot.failure != nullptr && !slot.wanted) forget(slot);
  }
  changed_.notify_one();
}

Status ExpertSlots::next(std::vector<Wanted>* ready) {
  ready->clear();
  std::unique_lock<std::mutex> lock(mutex_);
  Clock::time_point began;
  bool waited = false;
  auto account = [&] {
    if (waited) stats_.stall_ns += std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - began).count();
  };
  const Group& group = groups_[static_cast<size_t>(group_)];
  while (given_ < items_.size()) {
    for (Item& item : items_) {
      if (item.given || item.slot < 0) continue;
      Slot& slot = slots_[static_cast<size_t>(item.slot)];
      if (slot.state != State::ready) continue;
      if (slot.failure != nullptr) {
        account();
        return slot.failure->raise();
      }
      const Class& c = classes_[static_cast<size_t>(group.size_class)];
      uint8_t* memory = slot.memory;
      for (size_t k = 0; k < group.segments.size(); k++) {
        item.wanted.segments[k] = memory + group.segments[k].offset(item.wanted.expert) % kPage;
        memory += c.segments[k];
      }
      item.given = true;
      given_++;
      ready->push_back(item.wanted);
    }
    if (!ready->empty()) break;
    const int32_t* flag = *cancel_flag_;
    if (flag != nullptr && __atomic_load_n(flag, __ATOMIC_RELAXED) != 0) {
      account();
      return fail("CANCELLED", "stopped by the caller");
    }
    if (!waited) began = Clock::now();
    waited = true;
    DiskWait reading;
    changed_.wait_for(lock, kPoll);
    // Slots left over from a cancelled call may have become free.
    if (load_more()) reader_.kick();
  }
  account();
  return done();
}

void ExpertSlots::release(const std::vector<Wanted>& used) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const Wanted& want : used) {
      for (Item& item : items_) {
        if (item.wanted.expert == want.expert && item.slot >= 0) slots_[static_cast<size_t>(item.slot)].wanted = false;
      }
    }
    if (!load_more()) return;
  }
  reader_.kick();
}

// Reads under way go on: what they bring may be wanted again.
void ExpertSlots::end() {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const Item& item : items_) {
    if (item.slot < 0) continue;
    Slot& slot = slots_[static_cast<size_t>(item.slot)];
    slot.wanted = false;
    if (slot.failure != nullptr && slot.state == State::ready) forget(slot);
  }
  items_.clear();
  given_ = loaded_from_ = 0;
  used_ = Clock::now();
}

}  // namespace hw
