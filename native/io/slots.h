// Routed experts in memory: slots of a few size classes shared by all layers, each with the matrices of one expert
// (gate, up and down, say): a segment for each of their planes. A slot that is wanted again is a hit. Which one a miss
// takes: of the part of its class that was used longest ago the one used least often. Passes that touch nearly every
// expert (prefill) never evict: their misses go to free slots, the most used first, and to a few staging slots for the
// rest.
//
// Guesses: a layer ahead of its router somebody may say which experts it will probably want. What is missing of them is
// read while the disk has nothing else to do, into slots nobody is likelier to want; a guess that proves wrong loses
// its reads that have not begun and its slot is the next to go. How often guesses of a rank were right decides whether
// that rank is read ahead at all.
//
// Filling: slots that nobody has used yet get experts from the moment the model is open, while the disk has nothing
// else to do: those that earlier runs asked for most first, otherwise those of all layers in turn. Nothing is evicted
// for it, and a miss takes over what it waits for.
#pragma once
#include <stdint.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "../slice.h"
#include "../tensor.h"
#include "pinned.h"
#include "reader.h"

namespace hw {

struct SlotStats {
  int64_t hits = 0, misses = 0;  // an expert that was read ahead is a miss still
  int64_t bytes = 0;             // of misses
  int64_t stall_ns = 0;          // next() waited
  int64_t ahead = 0;             // misses whose reading had begun before the router spoke
  int64_t wasted = 0;            // experts read for nothing
  int64_t filled_bytes = 0;      // of filling; not of misses
};

// How slots decide: numbers of a plan (PolicyNumber; src/native/boundary.ts says what each does).
struct SlotPolicy {
  float half_life_passes, least_right, trust;
  int32_t old_share, most_scanned, evicting_rows, slots_per_guess, filling_reads;
};
// NATIVE_ARGUMENT unless all of them are there and in range.
Status read_policy(Slice<const double> numbers, SlotPolicy* out);

// Experts of a class: as large as each other, segment by segment.
struct SlotClassSpec {
  int32_t slots;
  std::vector<int32_t> groups;
};

class ExpertSlots : public Feed {
 public:
  struct Wanted {
    int32_t expert;
    int32_t rows;  // token rows that chose it
    const uint8_t* segments[kMostExpertSegments];  // the planes of its matrices, one after the other; set by next()
  };

  ExpertSlots(Reader& reader, const int32_t* const* cancel_flag, const SlotPolicy& policy)
      : reader_(reader), cancel_flag_(cancel_flag), policy_(policy) {}
  // The reader must have been deleted: no read may be in flight.
  ~ExpertSlots() override {}

  // groups: the matrices of each layer's experts. Every class has a slot, or the staging memory holds an expert.
  // uses: the share of earlier passes that asked for each expert, group after group; empty when nobody knows.
  // NATIVE_ARGUMENT, MEMORY_BUDGET.
  Status open(const std::vector<std::vector<const Weight*>>& groups, const std::vector<SlotClassSpec>& classes,
              int64_t staging_bytes, Slice<const float> uses);
  // How many passes that may evict asked for each expert, in the same order.  @returns how many there were
  Result<int64_t> asked(Slice<float> out) const;
  const SlotPolicy& policy() const { return policy_; }
  int64_t slot_bytes() const { return slot_memory_.bytes(); }
  int64_t staging_bytes() const { return staging_memory_.bytes(); }
  PinnedMemory& slot_memory() { return slot_memory_; }
  PinnedMemory& staging_memory() { return staging_memory_; }
  SlotStats stats() const;

  // One layer of a pass: begin, then next and release until next gives nothing, then end (also after a failure).
  void begin(int32_t group, const std::vector<Wanted>& wanted, uint64_t pass, bool evict);
  // Experts that are in memory and have not been given yet; all hits first. Waits for at least one. Empty at the end.
  Status next(std::vector<Wanted>* ready);
  void release(const std::vector<Wanted>& used);
  void end();

  // The layer after the one that will begin next (the very next, when no guess is open) will probably want these, best
  // first: `experts` are rows of `top_k`.
  void expect(int32_t group, const int32_t* experts, int32_t rows, int32_t top_k);

  bool take(ReadJob* job) override;
  void finished(const ReadJob& job, const IoFailure* failure) override;

  // What fills free slots: a feed of its own, since it waits for all others.
  Feed& filling() { return filling_; }

 private:
  struct Filling : public Feed {
    ExpertSlots& slots;
    explicit Filling(ExpertSlots& of) : slots(of) {}
    bool take(ReadJob* job) override { return slots.take_filling(job); }
    void finished(const ReadJob& job, const IoFailure* failure) override { slots.finished(job, failure); }
  };
  enum class State : uint8_t { empty, reading, ready };
  struct Class {
    int64_t segments[kMostExpertSegments] = {};  // room for each plane and the pages around it
    int64_t slot_bytes = 0;
    int32_t slots = 0, first = 0;
    int32_t oldest = -1, newest = -1;  // list by last use
    int32_t groups = 0;
    int32_t fill_next = -1;  // slots from here down have not been looked at for filling
  };
  struct Slot {
    uint8_t* memory = nullptr;
    int32_t size_class = 0;  // -1: staging
    int32_t group = -1, expert = -1;
    State state = State::empty;
    bool wanted = false;  // by the call under way
    bool guessed = false; // an open guess names it
    bool ahead = false;   // read because of a guess and not used yet
    bool filling = false; // read because it was free, and not there yet
    bool broken = false;  // reads under way bring a part nobody will ask for
    int32_t pending = 0;  // reads to come
    int32_t older = -1, newer = -1;
    std::shared_ptr<IoFailure> failure;
  };
  struct Group {
    struct Segment {
      const Weight* weight;
      int32_t plane;
      int64_t bytes() const { return weight->plane_bytes(plane); }
      int64_t room() const { return page_up(bytes()) + kPage; }
      int64_t offset(int64_t expert) const { return weight->file_offset(plane, expert, 0); }
    };
    std::vector<Segment> segments;
    int64_t expert_bytes = 0;
    int32_t size_class = -1;
    int32_t experts = 0;
    int64_t first = 0;  // in tables by (group, expert)
    int32_t filled = 0; // slots it has
  };
  struct Item {
    Wanted wanted;
    int32_t slot = -1;
    bool given = false;
  };
  struct Load {
    int32_t slot;
    int8_t segment;
  };

  static constexpr int32_t kRanks = 16;  // later ranks count as the last
  // In a read's tag beside the slot.
  static constexpr uint64_t kGuessTag = uint64_t{1} << 32, kFillTag = uint64_t{1} << 33;
  // A disk that nobody asked for so long has nothing else to do.
  static constexpr std::chrono::milliseconds kRest{100};
  struct Filled {
    int32_t group, expert;
  };
  struct Guess {
    int32_t expert, rank;
  };
  struct Guesses {
    int32_t group = -1;  // -1: none
    std::vector<Guess> list;
    size_t loaded_from = 0;
  };

  void touch(Slot& slot, int32_t index);
  void make_oldest(Slot& slot, int32_t index);
  void unlink(Slot& slot, int32_t index);
  float frequency(int64_t at) const;
  // Of the class's `scan` oldest slots that may go the one used least, -1: none.
  int32_t victim(const Class& size_class, int64_t scan, bool guessed_too) const;
  int64_t scan_of(const Class& size_class) const {
    return std::min(std::max(size_class.slots / policy_.old_share, 1), policy_.most_scanned);
  }
  int32_t find_room(const Item& item);
  void remember(Slice<const float> uses);
  void fill(int32_t index, int32_t group, int32_t expert, std::vector<Load>& queue);
  void load(Item& item);
  bool load_more();
  ReadJob job_of(const Load& load, uint64_t flags) const;
  bool load_guess();
  bool take_filling(ReadJob* job);
  bool load_filling();
  int32_t free_slot(Class& size_class) const;
  bool expect_of_filling(Slot& slot, int32_t index);
  void open_guesses();
  void close_guesses(int32_t group, const std::vector<Wanted>& wanted);
  void forget(Slot& slot);

  Reader& reader_;
  const int32_t* const* cancel_flag_;
  const SlotPolicy policy_;
  PinnedMemory slot_memory_, staging_memory_;
  std::vector<Group> groups_;
  std::vector<Class> classes_;
  std::vector<Slot> slots_;  // by class, then staging
  int32_t staging_first_ = 0;
  std::vector<int32_t> slot_of_;       // by (group, expert): -1 = none
  std::vector<float> uses_;            // decayed, as of last_pass_
  std::vector<uint32_t> last_pass_;
  std::vector<uint32_t> asked_;        // by passes that may evict
  int64_t asking_passes_ = 0;
  uint64_t asking_pass_ = 0;           // the last of them

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Item> items_;
  size_t given_ = 0, loaded_from_ = 0;  // items given; items that have a slot
  int32_t group_ = -1;
  uint64_t pass_ = 0;
  bool evict_ = true;
  std::vector<Load> loads_;  // to be taken, a queue from loads_taken_ on
  size_t loads_taken_ = 0;
  SlotStats stats_;

  Guesses open_, coming_;
  std::vector<Load> guess_loads_;  // as loads_
  size_t guess_loads_taken_ = 0;
  int32_t guess_reads_ = 0;        // under way
  std::vector<int32_t> rank_of_;   // by expert, -1 between calls
  float right_[kRanks];            // share of guesses that came true, lately

  Filling filling_{*this};
  std::vector<Load> fill_loads_;  // of one expert, as loads_
  size_t fill_loads_taken_ = 0;
  int32_t fill_reads_ = 0;        // under way
  std::vector<Filled> fill_order_; // all experts
  size_t fill_at_ = 0;             // of the order: these were looked at
  std::chrono::steady_clock::time_point used_;  // when a layer began or ended
};

}  // namespace hw
