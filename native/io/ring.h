// A ring of bytes through which an ordered, cyclic program of tiles runs: the reader fills it ahead of the consumer,
// across layers and from the end of a pass into the next. A consumer that leaves the order (a cancelled pass, a pass
// without logits) is followed: what it does not want is dropped and reading goes on where it is.
#pragma once
#include <stdint.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "../tensor.h"
#include "pinned.h"
#include "reader.h"

namespace hw {

// Slices [from, to) of a weight without experts: a piece of each plane that is cut; whole planes are in memory.
struct Tile {
  const Weight* weight;
  int64_t from, to;
};

struct RingStats {
  int64_t tiles = 0;     // handed out
  int64_t stall_ns = 0;  // next() waited
};

class Ring : public Feed {
 public:
  // The flag is polled while waiting.
  Ring(Reader& reader, const int32_t* const* cancel_flag) : reader_(reader), cancel_flag_(cancel_flag) {}
  // The reader must have been deleted or drained: no read may be in flight.
  ~Ring() override {}

  // Tiles of a weight follow each other, are in ascending order, contiguous and end with its last slice; the ring holds
  // at least two of them at once. NATIVE_ARGUMENT, MEMORY_BUDGET.
  Status open(int64_t bytes, const std::vector<Tile>& program);
  // Begins to read.
  void start();
  WeightSource* source_of(const Weight* weight);
  // Gives memory back: the ring keeps the least it works with. Between passes only: no tile may be held. CANCELLED.
  Status shrink();
  int64_t bytes() const { return bytes_; }
  PinnedMemory& memory() { return memory_; }
  RingStats stats() const;

  bool take(ReadJob* job) override;
  void finished(const ReadJob& job, const IoFailure* failure) override;

 private:
  // The tiles of one weight.
  struct Source : WeightSource {
    Ring* ring = nullptr;
    const Weight* weight = nullptr;
    size_t first = 0, end = 0;  // in the program
    Status next(int64_t expert, int64_t slice, Piece* out) override;
    void release(const Piece& piece) override;
  };
  enum class State : uint8_t { reading, ready, failed, held };
  // A place in the ring, oldest first.
  struct Entry {
    size_t tile;
    int64_t start, end;  // bytes of the ring since its beginning, as if it were endless
    uint64_t id;
    State state;
    bool dropped;
    int32_t taken, finished;  // reads: one for each plane that is cut
    std::shared_ptr<IoFailure> failure;
  };

  Status next(const Source& source, int64_t slice, Piece* out);
  void release(const Piece& piece);
  bool place(int64_t bytes, int64_t* start, int64_t* end) const;
  void drop_before(size_t count);
  void free_oldest();
  Entry* find(uint64_t id);
  uint8_t* memory_of(const Entry& entry) const { return memory_.data() + entry.start % bytes_; }
  // The read of a plane's piece, without a place; what all of them take; and at its place: they follow each other.
  static ReadJob read_of(const Tile& tile, int32_t plane);
  static int64_t tile_bytes(const Tile& tile);
  ReadJob job_of(const Entry& entry, int32_t plane) const;
  Piece piece_of(const Entry& entry) const;

  Reader& reader_;
  const int32_t* const* cancel_flag_;
  PinnedMemory memory_;
  int64_t bytes_ = 0, least_bytes_ = 0;  // of memory_ in use; four of the largest tile
  std::vector<Tile> program_;
  std::vector<std::unique_ptr<Source>> sources_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> entries_;
  size_t next_tile_ = 0;  // to be read next
  uint64_t next_id_ = 0;
  bool started_ = false;
  RingStats stats_;
};

}  // namespace hw
