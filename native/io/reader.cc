#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <new>

#include "uring.h"

namespace hw {

namespace {

std::atomic<ReadFault> read_fault{nullptr};

// A read of more than this is cut: Linux transfers at most 2^31 - 4096 bytes at once.
constexpr int64_t kMostAtOnce = int64_t{1} << 30;

}  // namespace

void set_read_fault(ReadFault fault) { read_fault.store(fault); }

int Reader::injected_fault(const ReadJob& job) {
  ReadFault fault = read_fault.load(std::memory_order_relaxed);
  return fault == nullptr ? 0 : fault(job);
}

Reader::~Reader() {}

void Reader::add(Feed* feed, Urgency urgency) {
  {
    std::lock_guard<std::mutex> lock(feeds_mutex_);
    auto place = std::find_if(lanes_.begin(), lanes_.end(), [&](const auto& lane) { return lane->urgency > urgency; });
    lanes_.insert(place, std::make_shared<Lane>(Lane{feed, urgency}));
  }
  kick();
}

void Reader::remove(Feed* feed) {
  std::unique_lock<std::mutex> lock(feeds_mutex_);
  auto found = std::find_if(lanes_.begin(), lanes_.end(), [&](const auto& lane) { return lane->feed == feed; });
  if (found == lanes_.end()) return;
  std::shared_ptr<Lane> lane = *found;
  lanes_.erase(found);
  while (lane->in_flight > 0) landed_.wait(lock);
}

void Reader::set_depth(int depth) {
  depth_.store(std::min(std::max(depth, 1), capacity_), std::memory_order_relaxed);
  kick();
}

bool Reader::take(Taken* out) {
  std::lock_guard<std::mutex> lock(feeds_mutex_);
  if (in_flight_.load() >= depth()) return false;
  for (size_t i = 0; i < lanes_.size(); i++) {
    std::shared_ptr<Lane> lane = lanes_[i];
    if (!lane->feed->take(&out->job)) continue;
    in_flight_.fetch_add(1);
    out->lane = lane;
    out->got = 0;
    lane->in_flight++;
    // Behind the others that are as urgent.
    for (; i + 1 < lanes_.size() && lanes_[i + 1]->urgency == lane->urgency; i++) std::swap(lanes_[i], lanes_[i + 1]);
    return true;
  }
  return false;
}

void Reader::finish(Taken* taken, const IoFailure* failure) {
  // Counted as under way until its feed knows: a feed never sees more reads at once than the depth.
  taken->lane->feed->finished(taken->job, failure);
  in_flight_.fetch_sub(1);
  std::lock_guard<std::mutex> lock(feeds_mutex_);
  if (--taken->lane->in_flight == 0) landed_.notify_all();
  taken->lane.reset();
}

int Reader::descriptor(const Taken& taken, bool* direct) {
  int fd = taken.job.file->direct_fd();
  *direct = fd >= 0;
  return fd >= 0 ? fd : taken.job.file->fd();
}

bool Reader::progress(Taken* taken, bool direct, int64_t result) {
  const ReadJob& job = taken->job;
  if (result == -EINTR || result == -EAGAIN) return false;
  if (result == -EINVAL && direct) {
    job.file->refuse_direct();
    return false;
  }
  const int64_t before = taken->got;
  if (result > 0) {
    taken->got += result;
    bytes_read_.fetch_add(result, std::memory_order_relaxed);
    if (taken->lane->feed->account != nullptr) taken->lane->feed->account->fetch_add(result, std::memory_order_relaxed);
#if defined(POSIX_FADV_DONTNEED)
    // The page cache must not hold what we read once per pass: it would push out what others need.
    if (!direct) posix_fadvise(job.file->fd(), job.offset, taken->got, POSIX_FADV_DONTNEED);
#endif
    if (taken->got >= job.needed) {
      finish(taken, nullptr);
      return true;
    }
    // A direct read goes on at a page. One that stops within its first page has met the end of the file.
    if (direct) taken->got = page_down(taken->got);
    if (taken->got > before) return false;
    result = 0;
  }
  IoFailure failure;
  job.file->explain(static_cast<int>(-result), job.offset, job.needed, taken->got, &failure);
  finish(taken, &failure);
  return true;
}

namespace {

// `capacity_` threads, each with one read at a time; those that are too many sleep.
class ThreadReader : public Reader {
 public:
  explicit ThreadReader(int depth) : Reader(depth) {}
  ~ThreadReader() override {
    stop_.store(true);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      changes_++;
    }
    wake_.notify_all();
    for (pthread_t thread : threads_) pthread_join(thread, nullptr);
  }

  bool start() {
    for (int i = 0; i < capacity_; i++) {
      pthread_t thread;
      if (pthread_create(&thread, nullptr, &ThreadReader::main, this) != 0) break;
      threads_.push_back(thread);
    }
    return !threads_.empty();
  }

  void kick() override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      changes_++;
    }
    wake_.notify_one();
  }
  const char* name() const override { return "threads"; }

 private:
  static void* main(void* self) {
    static_cast<ThreadReader*>(self)->work();
    return nullptr;
  }

  void work() {
    uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex_);
        seen = changes_;
      }
      if (stop_.load()) return;
      Taken taken;
      if (take(&taken)) {
        kick();  // another thread may find more
        read(&taken);
        continue;
      }
      std::unique_lock<std::mutex> lock(mutex_);
      while (changes_ == seen) wake_.wait(lock);
    }
  }

  void read(Taken* taken) {
    for (;;) {
      bool direct;
      int fd = descriptor(*taken, &direct);
      const ReadJob& job = taken->job;
      int64_t bytes = std::min(job.bytes - taken->got, kMostAtOnce);
      int fault = injected_fault(job);
      int64_t result = -fault;
      if (fault == 0) {
        result = pread(fd, job.memory + taken->got, static_cast<size_t>(bytes), job.offset + taken->got);
        if (result < 0) result = -errno;
      }
      if (progress(taken, direct, result)) return;
    }
  }

  std::vector<pthread_t> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  uint64_t changes_ = 1;
};

#if HW_HAS_URING

// One thread that submits and reaps.
class UringReader : public Reader {
 public:
  explicit UringReader(int depth) : Reader(depth), slots_(static_cast<size_t>(capacity_)) {
    for (int i = 0; i < capacity_; i++) free_.push_back(i);
  }
  ~UringReader() override {
    stop_.store(true);
    uring_.wake();
    if (started_) pthread_join(thread_, nullptr);
  }

  bool start() {
    // Two more than reads: the wake-up and its renewal.
    if (!uring_.open(static_cast<unsigned>(capacity_) + 2)) return false;
    started_ = pthread_create(&thread_, nullptr, &UringReader::main, this) == 0;
    return started_;
  }

  void kick() override {
    if (sleeps_.exchange(false)) uring_.wake();
  }
  const char* name() const override { return "io_uring"; }

 private:
  static void* main(void* self) {
    static_cast<UringReader*>(self)->work();
    return nullptr;
  }

  void work() {
    for (;;) {
      fill();
      if (stop_.load() && in_flight() == 0) return;
      // From here on a kick wakes us; what came before it is found by filling once more.
      sleeps_.store(true);
      if (fill()) {
        sleeps_.store(false);
        continue;
      }
      uring_.wait();
      sleeps_.store(false);
      uint64_t tag;
      int32_t result;
      while (uring_.reap(&tag, &result)) {
        size_t index = static_cast<size_t>(tag);
        if (progress(&slots_[index], direct_[index], result)) {
          free_.push_back(static_cast<int>(index));
        } else {
          submit(index);
        }
      }
    }
  }

  size_t in_flight() const { return slots_.size() - free_.size(); }

  bool fill() {
    bool any = false;
    while (!free_.empty() && !stop_.load()) {
      size_t index = static_cast<size_t>(free_.back());
      if (!take(&slots_[index])) break;
      free_.pop_back();
      submit(index);
      any = true;
    }
    return any;
  }

  void submit(size_t index) {
    Taken& taken = slots_[index];
    for (int fault; (fault = injected_fault(taken.job)) != 0;) {
      if (!progress(&taken, false, -fault)) continue;
      free_.push_back(static_cast<int>(index));
      return;
    }
    bool direct;
    int fd = descriptor(taken, &direct);
    direct_[index] = direct;
    int64_t bytes = std::min(taken.job.bytes - taken.got, kMostAtOnce);
    uring_.read(fd, taken.job.memory + taken.got, static_cast<uint32_t>(bytes), taken.job.offset + taken.got, index);
  }

  Uring uring_;
  std::vector<Taken> slots_;
  bool direct_[kMostDepth] = {};
  std::vector<int> free_;
  pthread_t thread_;
  bool started_ = false;
  std::atomic<bool> sleeps_{false};
};

#endif

}  // namespace

Reader* Reader::open(IoEngine engine, int depth) {
  depth = std::min(std::max(depth, 1), kMostDepth);
  // These threads must not run the signal handlers of the program that loaded us.
  sigset_t all, before;
  sigfillset(&all);
  for (int fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL}) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  Reader* reader = nullptr;
#if HW_HAS_URING
  if (engine != IoEngine::threads) {
    UringReader* uring = new (std::nothrow) UringReader(depth);
    if (uring != nullptr && uring->start()) {
      reader = uring;
    } else {
      delete uring;
    }
  }
#else
  (void)engine;
#endif
  if (reader == nullptr) {
    ThreadReader* threads = new (std::nothrow) ThreadReader(depth);
    if (threads != nullptr && threads->start()) {
      reader = threads;
    } else {
      delete threads;
    }
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return reader;
}

}  // namespace hw
