// A reader over a queue of the system: io_uring, overlapped reads of Windows. The queue belongs to one thread, but for
// wake():
//   static constexpr const char* kName;
//   bool open(unsigned reads);                       so many may be under way; false where there is no such queue
//   void read(FileHandle, void* memory, uint32_t bytes, int64_t offset, uint64_t tag);
//   void wait();                                     until something has completed or wake() was called
//   bool reap(uint64_t* tag, int32_t* result);       bytes, or minus the system's error number
//   void wake();                                     from any thread; is not lost when nobody waits yet
#pragma once
#include <new>
#include <vector>

#include "../system/thread.h"
#include "reader_kinds.h"

namespace hw {

// One thread that submits and reaps.
template <typename Queue>
class QueueReader : public Reader {
 public:
  explicit QueueReader(int depth) : Reader(depth), slots_(static_cast<size_t>(capacity_)) {
    for (int i = 0; i < capacity_; i++) free_.push_back(i);
  }
  ~QueueReader() override {
    stop_.store(true);
    queue_.wake();
    if (started_) thread_.join();
  }

  bool start() {
    if (!queue_.open(static_cast<unsigned>(capacity_))) return false;
    started_ = thread_.start(&QueueReader::main, this);
    return started_;
  }

  void kick() override {
    if (sleeps_.exchange(false)) queue_.wake();
  }
  const char* name() const override { return Queue::kName; }

 private:
  static void main(void* self) { static_cast<QueueReader*>(self)->work(); }

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
      queue_.wait();
      sleeps_.store(false);
      uint64_t tag;
      int32_t result;
      while (queue_.reap(&tag, &result)) {
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
    const FileHandle handle = source(taken, &direct);
    direct_[index] = direct;
    int64_t bytes = std::min(taken.job.bytes - taken.got, kMostAtOnce);
    queue_.read(handle, taken.job.memory + taken.got, static_cast<uint32_t>(bytes), taken.job.offset + taken.got,
                index);
  }

  Queue queue_;
  std::vector<Taken> slots_;
  bool direct_[kMostDepth] = {};
  std::vector<int> free_;
  SystemThread thread_;
  bool started_ = false;
  std::atomic<bool> sleeps_{false};
};

template <typename Queue>
Reader* open_queue(int depth) {
  QueueReader<Queue>* reader = new (std::nothrow) QueueReader<Queue>(depth);
  if (reader != nullptr && reader->start()) return reader;
  delete reader;
  return nullptr;
}

}  // namespace hw
