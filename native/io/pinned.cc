#include "pinned.h"

#include <algorithm>
#include <chrono>

#include "../system/pages.h"

namespace hw {

bool PinnedMemory::allocate(int64_t bytes) {
  if (bytes <= 0) return bytes == 0;
  bytes = page_up(bytes);
  // Small rings and tests need no huge page.
  const size_t align = bytes >= static_cast<int64_t>(kHugePage) ? kHugePage : static_cast<size_t>(kPage);
  if (counters_ != nullptr && !counters_->charge(bytes)) return false;
  data_ = map_kept_pages(static_cast<size_t>(bytes), align);
  if (data_ == nullptr) {
    if (counters_ != nullptr) counters_->refund(bytes);
    return false;
  }
  bytes_ = bytes;
  return true;
}

PinnedMemory::~PinnedMemory() {
  if (data_ == nullptr) return;
  if (locked_) unlock_pages(data_, static_cast<size_t>(bytes_));
  unmap_pages(data_, static_cast<size_t>(bytes_));
  if (counters_ != nullptr) counters_->refund(bytes_);
}

void PinnedMemory::give_back(int64_t kept) {
  kept = page_up(kept);
  if (data_ == nullptr || kept >= bytes_) return;
  const size_t rest = static_cast<size_t>(bytes_ - kept);
  if (locked_) unlock_pages(data_ + kept, rest);
  if (!give_back_pages(data_ + kept, rest)) return;
  if (counters_ != nullptr) counters_->refund(bytes_ - kept);
  bytes_ = kept;
}

bool PinnedMemory::lock() {
  if (!locked_ && data_ != nullptr) locked_ = lock_pages(data_, static_cast<size_t>(bytes_));
  return locked_;
}

namespace {

class FillFeed : public Feed {
 public:
  FillFeed(const Fill* fills, size_t count, int64_t request_bytes)
      : fills_(fills), count_(count), request_bytes_(page_up(std::max(request_bytes, kPage))) {}

  bool take(ReadJob* job) override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (index_ == count_ || stopped_) return false;
    const Fill& fill = fills_[index_];
    int64_t start = page_down(fill.offset), end = fill.offset + fill.bytes;
    int64_t from = start + done_, bytes = std::min(request_bytes_, page_up(end) - from);
    *job = ReadJob{fill.file, from, bytes, std::min(end - from, bytes), fill.memory + done_, taken_++};
    done_ += bytes;
    in_flight_++;
    if (from + bytes >= end) {
      index_++;
      done_ = 0;
    }
    return true;
  }

  void finished(const ReadJob& job, const IoFailure* failure) override {
    std::lock_guard<std::mutex> lock(mutex_);
    in_flight_--;
    // Of several that fail, the earliest is reported, whichever was noticed first.
    if (failure != nullptr && (failure_.code == nullptr || job.tag < failed_)) {
      failure_ = *failure;
      failed_ = job.tag;
      stopped_ = true;
    }
    // Under the lock: the waiter destroys us as soon as it gets it.
    changed_.notify_one();
  }

  Status wait(const int32_t* cancel_flag) {
    std::unique_lock<std::mutex> lock(mutex_);
    bool cancelled = false;
    for (;;) {
      if (!cancelled && cancel_flag != nullptr && __atomic_load_n(cancel_flag, __ATOMIC_RELAXED) != 0) {
        cancelled = stopped_ = true;
      }
      if (in_flight_ == 0 && (stopped_ || index_ == count_)) break;
      changed_.wait_for(lock, std::chrono::milliseconds(20));
    }
    if (failure_.code != nullptr) return failure_.raise();
    return cancelled ? fail("CANCELLED", "stopped by the caller") : done();
  }

 private:
  const Fill* fills_;
  const size_t count_;
  const int64_t request_bytes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t index_ = 0;
  int64_t done_ = 0;  // bytes of fills_[index_] handed out
  uint64_t taken_ = 0, failed_ = 0;  // requests so far; the one failure_ is of
  int in_flight_ = 0;
  bool stopped_ = false;
  IoFailure failure_;
};

}  // namespace

Status fill_memory(Reader& reader, const Fill* fills, size_t count, const int32_t* cancel_flag, int64_t request_bytes,
                   std::atomic<int64_t>* account) {
  if (count == 0) return done();
  FillFeed feed(fills, count, request_bytes);
  feed.account = account;
  reader.add(&feed);
  Status status = feed.wait(cancel_flag);
  reader.remove(&feed);
  return status;
}

}  // namespace hw
