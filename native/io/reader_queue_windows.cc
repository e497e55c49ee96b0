#include "../system/windows.h"
#include "reader_queue.h"

namespace hw {

namespace {

// Overlapped reads whose end is told to the thread that began them while it waits alertably. A completion port would
// belong to the handle for ever, and a file may be read by several readers.
class OverlappedQueue {
 public:
  static constexpr const char* kName = "overlapped";
  OverlappedQueue() = default;
  OverlappedQueue(const OverlappedQueue&) = delete;
  OverlappedQueue& operator=(const OverlappedQueue&) = delete;
  ~OverlappedQueue() {
    if (event_ != nullptr) CloseHandle(event_);
  }

  bool open(unsigned reads) {
    event_ = CreateEventW(nullptr, FALSE, FALSE, nullptr);
    reads_.resize(reads);
    done_.reserve(reads);
    return event_ != nullptr;
  }

  void read(FileHandle file, void* memory, uint32_t bytes, int64_t offset, uint64_t tag) {
    Read& read = reads_[static_cast<size_t>(tag)];
    read.place = {};
    read.place.Offset = static_cast<DWORD>(offset);
    read.place.OffsetHigh = static_cast<DWORD>(offset >> 32);
    read.queue = this;
    read.tag = tag;
    if (ReadFileEx(reinterpret_cast<HANDLE>(file), memory, bytes, &read.place, &OverlappedQueue::ended) == 0) {
      note(tag, GetLastError(), 0);
    }
  }

  void wait() {
    // The end of a read interrupts it (WAIT_IO_COMPLETION), all that have ended are told then.
    if (done_.empty()) WaitForSingleObjectEx(event_, INFINITE, TRUE);
  }

  bool reap(uint64_t* tag, int32_t* result) {
    if (done_.empty()) return false;
    *tag = done_.back().tag;
    *result = done_.back().result;
    done_.pop_back();
    return true;
  }

  void wake() { SetEvent(event_); }

 private:
  struct Read {
    OVERLAPPED place;  // first: what the system gives back is the address of this
    OverlappedQueue* queue;
    uint64_t tag;
  };
  struct Done {
    uint64_t tag;
    int32_t result;
  };

  static void WINAPI ended(DWORD error, DWORD bytes, OVERLAPPED* place) {
    const Read* read = reinterpret_cast<Read*>(place);
    read->queue->note(read->tag, error, bytes);
  }

  void note(uint64_t tag, DWORD error, DWORD bytes) {
    const bool at_end = error == ERROR_HANDLE_EOF;
    done_.push_back(Done{tag, error == ERROR_SUCCESS || at_end ? static_cast<int32_t>(bytes)
                                                               : -static_cast<int32_t>(error)});
  }

  HANDLE event_ = nullptr;
  std::vector<Read> reads_;
  std::vector<Done> done_;
};

}  // namespace

Reader* open_queue_reader(int depth) { return open_queue<OverlappedQueue>(depth); }

}  // namespace hw
