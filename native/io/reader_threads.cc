#include <new>

#include "../system/thread.h"
#include "reader_kinds.h"

namespace hw {

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
    for (SystemThread& thread : threads_) thread.join();
  }

  bool start() {
    for (int i = 0; i < capacity_; i++) {
      SystemThread thread;
      if (!thread.start(&ThreadReader::main, this)) break;
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
  static void main(void* self) { static_cast<ThreadReader*>(self)->work(); }

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
      FileHandle handle = source(*taken, &direct);
      const ReadJob& job = taken->job;
      int64_t bytes = std::min(job.bytes - taken->got, kMostAtOnce);
      int fault = injected_fault(job);
      int64_t result = -fault;
      if (fault == 0) result = read_file_at(handle, job.offset + taken->got, bytes, job.memory + taken->got);
      if (progress(taken, direct, result)) return;
    }
  }

  std::vector<SystemThread> threads_;
  std::mutex mutex_;
  std::condition_variable wake_;
  uint64_t changes_ = 1;
};

}  // namespace

Reader* open_thread_reader(int depth) {
  ThreadReader* reader = new (std::nothrow) ThreadReader(depth);
  if (reader != nullptr && reader->start()) return reader;
  delete reader;
  return nullptr;
}

}  // namespace hw
