// Bulk reads in the background, several in flight: a queue of the system (io_uring, overlapped reads of
// Windows) where it has one, else threads that wait for one read each. What
// to read next comes from feeds (the ring, expert slots, the filling of pinned memory), asked in order of urgency.
// Nobody spins: idle threads sleep until kick().
#pragma once
#include <stdint.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "../boundary.h"
#include "file.h"

namespace hw {

struct ReadJob {
  DataFile* file = nullptr;
  int64_t offset = 0;         // multiple of kPage
  int64_t bytes = 0;          // multiple of kPage
  int64_t needed = 0;         // at least these must arrive: the end of the file may cut the rest off
  uint8_t* memory = nullptr;  // aligned to kPage, room for `bytes`
  uint64_t tag = 0;           // the feed's own
};

// Bytes [offset, offset + bytes) of a file and the pages around them; `memory` gets the first page.
inline ReadJob widened(DataFile* file, int64_t offset, int64_t bytes, uint8_t* memory, uint64_t tag) {
  int64_t start = page_down(offset);
  return ReadJob{file, start, page_up(offset + bytes) - start, offset + bytes - start, memory, tag};
}

struct Feed {
  virtual ~Feed() {}
  // The next read, if there is one now. Called by reader threads.
  virtual bool take(ReadJob* job) = 0;
  // Its end; failure is null when all `needed` bytes are there.
  virtual void finished(const ReadJob& job, const IoFailure* failure) = 0;
  // Where the bytes that arrive are counted, if anywhere.
  std::atomic<int64_t>* account = nullptr;
};

// Somebody waits for what the feed asks for, or may later; idle: only what the disk has time for.
enum class Urgency : int { now, ahead, idle };

// Tests only: returns the number of a system's error for reads that shall fail, 0 for others. Called by reader threads.
typedef int (*ReadFault)(const ReadJob& job);
void set_read_fault(ReadFault fault);

class Reader {
 public:
  static constexpr int kDefaultDepth = 8, kMostDepth = 64, kSpare = 2;

  // `depth` reads in flight, later up to kSpare times as many. Null when the system refuses even a thread. `uring`
  // falls back to threads like `automatic`.
  static Reader* open(IoEngine engine, int depth);
  // From now on so many in flight, as far as they fit: at least 1. Any thread; what is under way ends as it would.
  void set_depth(int depth);
  // Waits for the reads in flight.
  virtual ~Reader();
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  // The more urgent are served first, others of the same urgency in turn: models that stream share the disk. A feed
  // must be removed before it dies: remove() waits for its reads in flight, and then it is left alone. Without its lock
  // held.
  void add(Feed* feed, Urgency urgency = Urgency::ahead);
  void remove(Feed* feed);
  // There may be more to take. May be called with the feed's lock held.
  virtual void kick() = 0;
  virtual const char* name() const = 0;
  int depth() const { return depth_.load(std::memory_order_relaxed); }
  int64_t bytes_read() const { return bytes_read_.load(std::memory_order_relaxed); }

 protected:
  // A feed and what is under way for it.
  struct Lane {
    Feed* feed;
    Urgency urgency;
    int in_flight = 0;
  };
  struct Taken {
    std::shared_ptr<Lane> lane;
    ReadJob job;
    int64_t got = 0;
  };
  explicit Reader(int depth) : capacity_(std::min(kMostDepth, kSpare * depth)), depth_(depth) {}
  // False also when enough are in flight; a read that ends makes room, and its thread asks again.
  bool take(Taken* out);
  // Accounts for `result` (bytes, or minus the number of an error) of a read of what was still missing. True: `taken`
  // is finished, its feed
  // knows; false: read on at taken->got.
  bool progress(Taken* taken, bool direct, int64_t result);
  // What is to be read next of it.
  static FileHandle source(const Taken& taken, bool* direct);
  static int injected_fault(const ReadJob& job);

  // A read of more than this is cut: Linux transfers at most 2^31 - 4096 bytes at once.
  static constexpr int64_t kMostAtOnce = int64_t{1} << 30;
  const int capacity_;
  std::atomic<bool> stop_{false};

 private:
  std::atomic<int> depth_, in_flight_{0};
  void finish(Taken* taken, const IoFailure* failure);

  std::mutex feeds_mutex_;
  std::condition_variable landed_;
  std::vector<std::shared_ptr<Lane>> lanes_;  // by urgency, then by who was served longest ago
  std::atomic<int64_t> bytes_read_{0};
};

}  // namespace hw
