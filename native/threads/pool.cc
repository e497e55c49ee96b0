#include "pool.h"

#include <new>

#include "../system/thread.h"
#include "spans.h"

namespace hw {

namespace {

constexpr uint64_t kClosed = uint64_t{1} << 31;
constexpr uint64_t kActive = kClosed - 1;

uint32_t epoch_of(uint64_t state) { return static_cast<uint32_t>(state >> 32); }

// The next call of the forward pass follows within a few microseconds; between tokens threads should sleep.
constexpr int64_t kSpinNanoseconds = 50000;
// From here on a spinning thread offers its CPU: on a busy machine the one it waits for may sit on the same.
constexpr int64_t kYieldNanoseconds = 4000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `ready()` or the time is over; true when ready.
template <typename Ready>
bool spin(const Ready& ready) {
  int64_t start = 0;
  for (;;) {
    for (int i = 0; i < 32; i++) {
      if (ready()) return true;
      pause();
    }
    int64_t t = monotonic_nanoseconds();
    if (start == 0) start = t;
    if (t - start > kSpinNanoseconds) return false;
    if (t - start > kYieldNanoseconds) yield_thread();
  }
}

}  // namespace

struct Pool::Worker {
  Pool* pool;
  int thread;
  int cpu;  // -1: not bound
  SystemThread system;
};

Pool* Pool::open(int threads, const int32_t* cpus, int cpu_count, int nodes) {
  if (threads < 1 || threads > kMaxThreads) return nullptr;
  Pool* pool = new (std::nothrow) Pool;
  if (pool == nullptr) return nullptr;
  pool->threads_ = threads;
  pool->nodes_ = nodes > 1 && nodes <= threads ? nodes : 1;
  pool->active_.store(threads);
  pool->state_.store(kClosed);
  pool->workers_ = new (std::nothrow) Worker[threads];
  if (pool->workers_ == nullptr) {
    delete pool;
    return nullptr;
  }
  bool ok = true;
  for (int i = 1; i < threads && ok; i++) {
    Worker& worker = pool->workers_[i - 1];
    worker.pool = pool;
    worker.thread = i;
    worker.cpu = cpu_count > 0 ? cpus[i % cpu_count] : -1;
    ok = worker.system.start(&Pool::main, &worker);
    if (ok) pool->started_++;
  }
  if (!ok) {
    delete pool;
    return nullptr;
  }
  return pool;
}

Pool::~Pool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_.store(true);
  }
  wake_.notify_all();
  called_up_.notify_all();
  for (int i = 0; i < started_; i++) workers_[i].system.join();
  delete[] workers_;
}

namespace {

struct CallerMask {
  int bound = 0;
  bool known = false;
  Affinity before;
};
thread_local CallerMask caller_mask;

}  // namespace

BoundCaller::BoundCaller(int cpu) {
  CallerMask& mask = caller_mask;
  if (mask.bound++ > 0) return;
  mask.known = mask.before.read();
  if (mask.known) bind_thread(cpu);
}

BoundCaller::~BoundCaller() {
  CallerMask& mask = caller_mask;
  if (--mask.bound == 0 && mask.known) mask.before.restore();
}

Pool::Turn::Turn(Pool& pool) : pool_(pool), ticket_(pool.next_ticket_.fetch_add(1, std::memory_order_relaxed)) {
  auto mine = [&] { return pool_.called_.load(std::memory_order_acquire) == ticket_; };
  if (mine() || spin(mine)) return;
  std::unique_lock<std::mutex> lock(pool_.turn_mutex_);
  pool_.queueing_.fetch_add(1, std::memory_order_seq_cst);
  while (pool_.called_.load(std::memory_order_seq_cst) != ticket_) pool_.turn_changed_.wait(lock);
  pool_.queueing_.fetch_sub(1, std::memory_order_relaxed);
}

Pool::Turn::~Turn() {
  pool_.called_.store(ticket_ + 1, std::memory_order_seq_cst);
  if (pool_.queueing_.load(std::memory_order_seq_cst) == 0) return;
  { std::lock_guard<std::mutex> lock(pool_.turn_mutex_); }  // a caller between its look and its wait
  pool_.turn_changed_.notify_all();
}

void Pool::main(void* pointer) {
  Worker* worker = static_cast<Worker*>(pointer);
  name_thread("hundredweight");
  if (worker->cpu >= 0) bind_thread(worker->cpu);
  worker->pool->work(worker->thread);
}

// Which share of the parts is a thread's: those of the first node come first.
int Pool::share_of(int thread, int active) const {
  if (nodes_ == 1) return thread;
  const int node = thread % nodes_;
  int before = 0;
  for (int other = 0; other < node; other++) before += (active - other + nodes_ - 1) / nodes_;
  return before + thread / nodes_;
}

void Pool::run(int active, int64_t parts, Task task, const void* context) {
  // Claims are 32-bit; longer loops run as several regions (nothing in a model comes near).
  constexpr int64_t kLargest = int64_t{1} << 31;
  if (parts > kLargest) parts = kLargest;
  Turn turn(*this);
  task_ = task;
  context_ = context;
  if (active > threads_) active = threads_;
  for (int i = 0; i < threads_; i++) {
    const uint64_t share = i < active ? static_cast<uint64_t>(share_of(i, active)) : 0;
    uint64_t front = static_cast<uint64_t>(parts) * share / active;
    uint64_t back = i < active ? static_cast<uint64_t>(parts) * (share + 1) / active : front;
    claims_[i].range.store(front << 32 | back, std::memory_order_relaxed);
  }
  const bool more = active > active_.load(std::memory_order_relaxed);
  if (more) {
    std::lock_guard<std::mutex> lock(mutex_);  // those that rest look at the number under it
    active_.store(active, std::memory_order_relaxed);
  } else {
    active_.store(active, std::memory_order_relaxed);
  }
  if (more) called_up_.notify_all();
  uint64_t epoch = epoch_of(state_.load(std::memory_order_relaxed)) + 1;
  state_.store(epoch << 32, std::memory_order_seq_cst);
  if (sleepers_.load(std::memory_order_seq_cst) > 0) {
    { std::lock_guard<std::mutex> lock(mutex_); }  // a sleeper between its check and its wait
    wake_.notify_all();
  }
  drain(0);
  uint64_t state = state_.fetch_or(kClosed, std::memory_order_acq_rel);
  if ((state & kActive) == 0) return;
  auto all_left = [this] { return (state_.load(std::memory_order_acquire) & kActive) == 0; };
  if (spin(all_left)) return;
  std::unique_lock<std::mutex> lock(mutex_);
  caller_sleeps_.store(true, std::memory_order_seq_cst);
  while ((state_.load(std::memory_order_seq_cst) & kActive) != 0) finished_.wait(lock);
  caller_sleeps_.store(false, std::memory_order_relaxed);
}

void Pool::wake() {
  if (sleepers_.load(std::memory_order_relaxed) == 0) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    wakes_++;
  }
  wake_.notify_all();
}

void Pool::work(int thread) {
  uint32_t seen = 0;
  for (;;) {
    if (!wait_for_region(thread, seen)) return;
    uint64_t state = state_.load(std::memory_order_acquire);
    seen = epoch_of(state);
    bool joined = false;
    // Set before the region opened; one that opens now is met in the next round.
    if (thread >= active_.load(std::memory_order_relaxed)) continue;
    while (!joined && (state & kClosed) == 0 && epoch_of(state) == seen) {
      joined = state_.compare_exchange_weak(state, state + 1, std::memory_order_acq_rel, std::memory_order_acquire);
    }
    if (!joined) continue;
    drain(thread);
    uint64_t before = state_.fetch_sub(1, std::memory_order_seq_cst);
    if ((before & kActive) == 1 && (before & kClosed) != 0 && caller_sleeps_.load(std::memory_order_seq_cst)) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      finished_.notify_one();
    }
  }
}

// Sleeps as long as regions are of fewer threads. Returns false when the pool shuts down.
bool Pool::rest(int thread) {
  if (thread < active_.load(std::memory_order_relaxed)) return true;
  std::unique_lock<std::mutex> lock(mutex_);
  while (thread >= active_.load(std::memory_order_relaxed) && !stop_.load(std::memory_order_relaxed)) {
    called_up_.wait(lock);
  }
  return !stop_.load(std::memory_order_relaxed);
}

// Returns false when the pool shuts down.
bool Pool::wait_for_region(int thread, uint32_t seen) {
  if (!rest(thread)) return false;
  auto ready = [&] {
    return epoch_of(state_.load(std::memory_order_acquire)) != seen || stop_.load(std::memory_order_relaxed);
  };
  while (!spin(ready)) {
    std::unique_lock<std::mutex> lock(mutex_);
    uint32_t wakes = wakes_;
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (epoch_of(state_.load(std::memory_order_seq_cst)) == seen && !stop_.load(std::memory_order_relaxed) &&
           wakes_ == wakes) {
      wake_.wait(lock);
    }
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }
  return !stop_.load(std::memory_order_relaxed);
}

void Pool::drain(int thread) {
  if (!keeps_thread_spans.load(std::memory_order_relaxed)) {
    walk(thread);
    return;
  }
  const int64_t begin = monotonic_nanoseconds();
  if (walk(thread)) add_thread_span({thread, begin, monotonic_nanoseconds()});
}

// Returns whether any part was its.
bool Pool::walk(int thread) {
  uint32_t part;
  bool any = false;
  auto compute = [&] {
    task_(context_, part, thread);
    any = true;
  };
  while (take(thread, &part)) compute();
  // Of the own node first: what the others left lies there.
  for (int foreign = 0; foreign < (nodes_ > 1 ? 2 : 1); foreign++) {
    for (int i = 1; i < threads_; i++) {
      const int victim = thread + i < threads_ ? thread + i : thread + i - threads_;
      if (nodes_ > 1 && ((victim - thread) % nodes_ != 0) != (foreign == 1)) continue;
      while (steal(victim, &part)) compute();
    }
  }
  return any;
}

bool Pool::take(int thread, uint32_t* part) {
  std::atomic<uint64_t>& range = claims_[thread].range;
  uint64_t value = range.load(std::memory_order_relaxed);
  for (;;) {
    uint32_t front = static_cast<uint32_t>(value >> 32), back = static_cast<uint32_t>(value);
    if (front >= back) return false;
    if (range.compare_exchange_weak(value, value + (uint64_t{1} << 32), std::memory_order_relaxed)) {
      *part = front;
      return true;
    }
  }
}

bool Pool::steal(int victim, uint32_t* part) {
  std::atomic<uint64_t>& range = claims_[victim].range;
  uint64_t value = range.load(std::memory_order_relaxed);
  for (;;) {
    uint32_t front = static_cast<uint32_t>(value >> 32), back = static_cast<uint32_t>(value);
    if (front >= back) return false;
    if (range.compare_exchange_weak(value, value - 1, std::memory_order_relaxed)) {
      *part = back - 1;
      return true;
    }
  }
}

}  // namespace hw
