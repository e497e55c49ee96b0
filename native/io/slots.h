// Routed experts in memory: slots of a few size classes shared by all layers, each with gate, up and down of one expert.
// A slot that is wanted again is a hit. Which one a miss takes: of the eighth of its class that was used longest ago the
// one used least often. Passes that touch nearly every expert (prefill) never evict: their misses go to free slots, the
// most used first, and to a few staging slots for the rest.
#pragma once
#include <stdint.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "../tensor.h"
#include "pinned.h"
#include "reader.h"

namespace hw {

struct SlotStats {
  int64_t hits = 0, misses = 0;
  int64_t bytes = 0;     // of misses
  int64_t stall_ns = 0;  // next() waited
};

// Experts of a class: as large as each other, gate by gate.
struct SlotClassSpec {
  int32_t slots;
  std::vector<int32_t> groups;
};

class ExpertSlots : public Feed {
 public:
  struct Wanted {
    int32_t expert;
    int32_t rows;  // token rows that chose it
    const uint8_t* data[3];  // gate, up, down; set by next()
  };

  ExpertSlots(Reader& reader, const int32_t* const* cancel_flag) : reader_(reader), cancel_flag_(cancel_flag) {}
  // The reader must have been deleted: no read may be in flight.
  ~ExpertSlots() override {}

  // groups: [gate, up, down] each. Every class has a slot, or the staging memory holds an expert. NATIVE_ARGUMENT,
  // MEMORY_BUDGET.
  Status open(const std::vector<const Weight*>& groups, const std::vector<SlotClassSpec>& classes, int64_t staging_bytes);
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

  bool take(ReadJob* job) override;
  void finished(const ReadJob& job, const IoFailure* failure) override;

 private:
  enum class State : uint8_t { empty, reading, ready };
  struct Class {
    int64_t segment[3] = {};  // room for each matrix and the pages around it
    int64_t slot_bytes = 0;
    int32_t slots = 0, first = 0;
    int32_t oldest = -1, newest = -1;  // list by last use
    int32_t groups = 0;
  };
  struct Slot {
    uint8_t* memory = nullptr;
    int32_t size_class = 0;  // -1: staging
    int32_t group = -1, expert = -1;
    State state = State::empty;
    bool wanted = false;  // by the call under way
    int32_t pending = 0;  // reads to come
    int32_t older = -1, newer = -1;
    std::shared_ptr<IoFailure> failure;
  };
  struct Group {
    const Weight* weights[3];
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

  void touch(Slot& slot, int32_t index);
  void unlink(Slot& slot, int32_t index);
  float frequency(int64_t at) const;
  int32_t victim(const Class& size_class, int64_t scan) const;
  int32_t find_room(const Item& item);
  void load(Item& item);
  bool load_more();
  void forget(Slot& slot);

  Reader& reader_;
  const int32_t* const* cancel_flag_;
  PinnedMemory slot_memory_, staging_memory_;
  std::vector<Group> groups_;
  std::vector<Class> classes_;
  std::vector<Slot> slots_;  // by class, then staging
  int32_t staging_first_ = 0;
  std::vector<int32_t> slot_of_;       // by (group, expert): -1 = none
  std::vector<float> uses_;            // decayed, as of last_pass_
  std::vector<uint32_t> last_pass_;

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
};

}  // namespace hw
