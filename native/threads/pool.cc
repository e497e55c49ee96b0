#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include <new>

namespace hw {

namespace {

constexpr uint64_t kClosed = uint64_t{1} << 31;
constexpr uint64_t kActive = kClosed - 1;

uint32_t epoch_of(uint64_t state) { return static_cast<uint32_t>(state >> 32); }

// The next call of the forward pass follows within a few microseconds; between tokens threads should sleep.
constexpr int64_t kSpinNanoseconds = 50000;
// From here on a spinning thread offers its CPU: on a busy machine the one it waits for may sit on the same.
constexpr int64_t kYieldNanoseconds = 4000;

int64_t now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<int64_t>(t.tv_sec) * 1000000000 + t.tv_nsec;
}

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
    int64_t t = now();
    if (start == 0) start = t;
    if (t - start > kSpinNanoseconds) return false;
    if (t - start > kYieldNanoseconds) sched_yield();
  }
}

#if defined(__linux__)
bool bind_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
  CPU_SET(cpu, &set);
  return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0;
}
#else
bool bind_to(int) { return false; }
#endif

}  // namespace

struct Pool::Worker {
  Pool* pool;
  int thread;
  int cpu;  // -1: not bound
  pthread_t handle;
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
  // Workers must not run the signal handlers of the program that loaded us.
  sigset_t all, before;
  sigfillset(&all);
  // A blocked fault kills the process whatever the handler: mapped files that shrink are handled (io/mapping).
  for (int fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL}) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool ok = true;
  for (int i = 1; i < threads && ok; i++) {
    Worker& worker = pool->workers_[i - 1];
    worker.pool = pool;
    worker.thread = i;
    worker.cpu = cpu_count > 0 ? cpus[i % cpu_count] : -1;
    ok = pthread_create(&worker.handle, nullptr, &Pool::main, &worker) == 0;
    if (ok) pool->started_++;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
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
  for (int i = 0; i < started_; i++) pthread_join(workers_[i].handle, nullptr);
  delete[] workers_;
}

namespace {

#if defined(__linux__)
struct CallerMask {
  int bound = 0;
  bool known = false;
  cpu_set_t before;
};
thread_local CallerMask caller_mask;
#endif

}  // namespace

BoundCaller::BoundCaller(int cpu) {
#if defined(__linux__)
  CallerMask& mask = caller_mask;
  if (mask.bound++ > 0) return;
  mask.known = pthread_getaffinity_np(pthread_self(), sizeof mask.before, &mask.before) == 0;
  if (mask.known) bind_to(cpu);
#else
  (void)cpu;
#endif
}

BoundCaller::~BoundCaller() {
#if defined(__linux__)
  CallerMask& mask = caller_mask;
  if (--mask.bound == 0 && mask.known) pthread_setaffinity_np(pthread_self(), sizeof mask.before, &mask.before);
#endif
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

void* Pool::main(void* pointer) {
  Worker* worker = static_cast<Worker*>(pointer);
#if defined(__linux__)
  pthread_setname_np(pthread_self(), "hundredweight");
#endif
  if (worker->cpu >= 0) bind_to(worker->cpu);
  worker->pool->work(worker->thread);
  return nullptr;
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
  uint32_t part;
  while (take(thread, &part)) task_(context_, part, thread);
  // Of the own node first: what the others left lies there.
  for (int foreign = 0; foreign < (nodes_ > 1 ? 2 : 1); foreign++) {
    for (int i = 1; i < threads_; i++) {
      const int victim = thread + i < threads_ ? thread + i : thread + i - threads_;
      if (nodes_ > 1 && ((victim - thread) % nodes_ != 0) != (foreign == 1)) continue;
      while (steal(victim, &part)) task_(context_, part, thread);
    }
  }
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
