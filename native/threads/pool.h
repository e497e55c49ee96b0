// A static pool: threads - 1 workers and a caller, who may be one of several, each in its turn. Work is split by the
// caller into parts; each thread walks its own contiguous run of parts (one sequential stream of weight bytes per
// thread) and steals from the far end of another's when it is done. A worker that is late is not waited for: only those
// that joined the region are.
#pragma once
#include <stdint.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "../boundary.h"

namespace hw {

class Pool {
 public:
  // cpus: worker i is bound to cpus[i % cpu_count], a caller binds itself to the first (BoundCaller); none = not bound.
  // nodes: thread i is on memory node i % nodes, and threads of a node get a contiguous run of a region's parts; 0 and
  // 1 are the same here. Null when the system refuses a thread.
  static Pool* open(int threads, const int32_t* cpus, int cpu_count, int nodes = 0);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return threads_; }

  // body(part, thread) for every part in [0, parts), in no fixed order; thread in [0, threads()) is the same for all
  // parts a thread runs. Returns when all are done. Not reentrant. Callers on several threads take turns, in the order
  // in which they came: one engine that computes all the time leaves every other region to the next one.
  template <typename Body>
  void parallel_for(int64_t parts, const Body& body) {
    parallel_for(threads_, parts, body);
  }

  // The same by the first `active` threads; the others sleep until a region is theirs, too.
  template <typename Body>
  void parallel_for(int active, int64_t parts, const Body& body) {
    if (parts <= 1 || active <= 1) {
      for (int64_t part = 0; part < parts; part++) body(part, 0);
      return;
    }
    run(
        active, parts,
        [](const void* context, int64_t part, int thread) { (*static_cast<const Body*>(context))(part, thread); },
        &body);
  }

  // A region follows soon: workers that sleep begin to spin. What the caller does meanwhile hides how long that takes.
  void wake();

 private:
  typedef void (*Task)(const void* context, int64_t part, int thread);
  // Parts [front, back) that nobody took yet, front in the upper half. One cache line each.
  struct alignas(64) Claim {
    std::atomic<uint64_t> range{0};
  };
  struct Worker;

  Pool() = default;
  void run(int active, int64_t parts, Task task, const void* context);
  int share_of(int thread, int active) const;
  void work(int thread);
  void drain(int thread);
  bool walk(int thread);
  bool take(int thread, uint32_t* part);
  bool steal(int victim, uint32_t* part);
  bool wait_for_region(int thread, uint32_t seen);
  bool rest(int thread);
  static void main(void* worker);

  // Whose region runs: callers draw a ticket and wait until it is called.
  class Turn {
   public:
    explicit Turn(Pool& pool);
    ~Turn();

   private:
    Pool& pool_;
    const uint32_t ticket_;
  };
  alignas(64) std::atomic<uint32_t> next_ticket_{0}, called_{0};
  std::atomic<int> queueing_{0};  // callers that sleep
  std::mutex turn_mutex_;
  std::condition_variable turn_changed_;

  int threads_ = 1, nodes_ = 1;
  Worker* workers_ = nullptr;  // [threads - 1]
  int started_ = 0;

  // epoch (32 bits) | closed (bit 31) | workers inside the region. A worker joins by incrementing the count of an open
  // region; the caller closes it when no part is left and waits for the count to reach zero.
  alignas(64) std::atomic<uint64_t> state_;
  Task task_ = nullptr;
  const void* context_ = nullptr;
  Claim claims_[kMaxThreads];
  std::atomic<int> active_{1};  // threads of the region

  alignas(64) std::atomic<int> sleepers_{0};
  uint32_t wakes_ = 0;  // calls of wake that found a sleeper; under the mutex
  std::atomic<bool> caller_sleeps_{false};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable wake_, finished_, called_up_;
};

// Of a pool, so many threads as compute for somebody now.
class Team {
 public:
  Team(Pool& pool, int threads) : pool_(pool), threads_(threads) {}
  int threads() const { return threads_; }
  template <typename Body>
  void parallel_for(int64_t parts, const Body& body) const {
    pool_.parallel_for(threads_, parts, body);
  }
  void wake() const { pool_.wake(); }

 private:
  Pool& pool_;
  const int threads_;
};

// Binds the calling thread to a CPU as long as any such object of its lives; where that is refused it stays as it was.
class BoundCaller {
 public:
  explicit BoundCaller(int cpu);
  ~BoundCaller();
  BoundCaller(const BoundCaller&) = delete;
  BoundCaller& operator=(const BoundCaller&) = delete;
};

}  // namespace hw
