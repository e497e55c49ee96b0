// io_uring by raw system calls: one thread fills, submits, waits and reaps; wake() comes from others.
#pragma once
#if defined(__linux__) && __has_include(<linux/io_uring.h>)
#define HW_HAS_URING 1
#else
#define HW_HAS_URING 0
#endif

#if HW_HAS_URING
#include <linux/io_uring.h>
#include <stddef.h>
#include <stdint.h>

#include "file_system.h"

namespace hw {

class Uring {
 public:
  static constexpr const char* kName = "io_uring";
  Uring() = default;
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;
  ~Uring();

  // False where the kernel has no io_uring, lacks plain reads (before 5.6) or a sandbox forbids it.
  bool open(unsigned reads);
  // Queues a read; submitted by the next wait().
  void read(FileHandle file, void* memory, uint32_t bytes, int64_t offset, uint64_t tag);
  // Submits, then sleeps until something has completed or wake() was called.
  void wait();
  // The next completion, if there is one.
  bool reap(uint64_t* tag, int32_t* result);
  // From any thread; does not get lost when nobody waits yet.
  void wake();

 private:
  io_uring_sqe* next_entry();
  void arm_wake();
  bool can_read() const;

  int fd_ = -1, event_ = -1;
  void *sq_memory_ = nullptr, *cq_memory_ = nullptr;
  io_uring_sqe* entries_ = nullptr;
  size_t sq_bytes_ = 0, cq_bytes_ = 0, entry_bytes_ = 0;
  unsigned *sq_tail_ = nullptr, *sq_mask_ = nullptr, *sq_array_ = nullptr;
  unsigned *cq_head_ = nullptr, *cq_tail_ = nullptr, *cq_mask_ = nullptr;
  io_uring_cqe* completions_ = nullptr;
  unsigned tail_ = 0;     // of what is queued; published by wait()
  unsigned pending_ = 0;  // queued, not submitted
  bool wake_armed_ = false;
};

}  // namespace hw
#endif
