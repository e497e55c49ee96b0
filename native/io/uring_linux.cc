#include "uring.h"

#if HW_HAS_URING
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace hw {

namespace {

constexpr uint64_t kWakeTag = ~uint64_t{0};

int setup(unsigned entries, io_uring_params* params) {
  return static_cast<int>(syscall(SYS_io_uring_setup, entries, params));
}
int enter(int fd, unsigned submit, unsigned complete, unsigned flags) {
  return static_cast<int>(syscall(SYS_io_uring_enter, fd, submit, complete, flags, nullptr, 0));
}

void* map(int fd, size_t bytes, uint64_t offset) {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, static_cast<off_t>(offset));
  return p == MAP_FAILED ? nullptr : p;
}

template <typename T>
T* at(void* memory, uint32_t offset) {
  return reinterpret_cast<T*>(static_cast<uint8_t*>(memory) + offset);
}

}  // namespace

bool Uring::open(unsigned reads) {
  io_uring_params params;
  memset(&params, 0, sizeof params);
  // Two more than reads: the wake-up and its renewal.
  fd_ = setup(reads + 2, &params);
  if (fd_ < 0 || !can_read()) return false;
  event_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  sq_bytes_ = params.sq_off.array + params.sq_entries * sizeof(unsigned);
  cq_bytes_ = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
  entry_bytes_ = params.sq_entries * sizeof(io_uring_sqe);
  sq_memory_ = map(fd_, sq_bytes_, IORING_OFF_SQ_RING);
  cq_memory_ = map(fd_, cq_bytes_, IORING_OFF_CQ_RING);
  entries_ = static_cast<io_uring_sqe*>(map(fd_, entry_bytes_, IORING_OFF_SQES));
  if (event_ < 0 || sq_memory_ == nullptr || cq_memory_ == nullptr || entries_ == nullptr) return false;
  sq_tail_ = at<unsigned>(sq_memory_, params.sq_off.tail);
  sq_mask_ = at<unsigned>(sq_memory_, params.sq_off.ring_mask);
  sq_array_ = at<unsigned>(sq_memory_, params.sq_off.array);
  cq_head_ = at<unsigned>(cq_memory_, params.cq_off.head);
  cq_tail_ = at<unsigned>(cq_memory_, params.cq_off.tail);
  cq_mask_ = at<unsigned>(cq_memory_, params.cq_off.ring_mask);
  completions_ = at<io_uring_cqe>(cq_memory_, params.cq_off.cqes);
  return true;
}

Uring::~Uring() {
  if (entries_ != nullptr) munmap(entries_, entry_bytes_);
  if (sq_memory_ != nullptr) munmap(sq_memory_, sq_bytes_);
  if (cq_memory_ != nullptr) munmap(cq_memory_, cq_bytes_);
  if (fd_ >= 0) close(fd_);
  if (event_ >= 0) close(event_);
}

bool Uring::can_read() const {
  constexpr unsigned kOps = 64;
  alignas(io_uring_probe) uint8_t memory[sizeof(io_uring_probe) + kOps * sizeof(io_uring_probe_op)];
  memset(memory, 0, sizeof memory);
  io_uring_probe* probe = reinterpret_cast<io_uring_probe*>(memory);
  if (syscall(SYS_io_uring_register, fd_, IORING_REGISTER_PROBE, probe, kOps) < 0) return false;
  auto supports = [&](unsigned op) {
    return op <= probe->last_op && (probe->ops[op].flags & IO_URING_OP_SUPPORTED) != 0;
  };
  return supports(IORING_OP_READ) && supports(IORING_OP_POLL_ADD);
}

io_uring_sqe* Uring::next_entry() {
  unsigned index = tail_++ & *sq_mask_;
  sq_array_[index] = index;
  io_uring_sqe* entry = &entries_[index];
  memset(entry, 0, sizeof *entry);
  pending_++;
  return entry;
}

void Uring::read(FileHandle file, void* memory, uint32_t bytes, int64_t offset, uint64_t tag) {
  io_uring_sqe* entry = next_entry();
  entry->opcode = IORING_OP_READ;
  entry->fd = static_cast<int>(file);
  entry->addr = reinterpret_cast<uint64_t>(memory);
  entry->len = bytes;
  entry->off = static_cast<uint64_t>(offset);
  entry->user_data = tag;
}

// The eventfd keeps a wake() that comes while nobody waits: a new poll sees it at once.
void Uring::arm_wake() {
  if (wake_armed_) return;
  io_uring_sqe* entry = next_entry();
  entry->opcode = IORING_OP_POLL_ADD;
  entry->fd = event_;
  entry->poll_events = POLLIN;
  entry->user_data = kWakeTag;
  wake_armed_ = true;
}

void Uring::wait() {
  arm_wake();
  __atomic_store_n(sq_tail_, tail_, __ATOMIC_RELEASE);
  while (pending_ > 0 || __atomic_load_n(cq_tail_, __ATOMIC_ACQUIRE) == *cq_head_) {
    int submitted = enter(fd_, pending_, 1, IORING_ENTER_GETEVENTS);
    if (submitted >= 0) {
      pending_ -= static_cast<unsigned>(submitted);
    } else if (errno == EAGAIN || errno == EBUSY || errno == ENOMEM) {
      timespec pause = {0, 1000000};
      nanosleep(&pause, nullptr);
    } else if (errno != EINTR) {
      return;  // cannot happen with a valid ring; the caller tries again
    }
  }
}

bool Uring::reap(uint64_t* tag, int32_t* result) {
  for (;;) {
    unsigned head = *cq_head_;
    if (__atomic_load_n(cq_tail_, __ATOMIC_ACQUIRE) == head) return false;
    const io_uring_cqe& completion = completions_[head & *cq_mask_];
    *tag = completion.user_data;
    *result = completion.res;
    __atomic_store_n(cq_head_, head + 1, __ATOMIC_RELEASE);
    if (*tag != kWakeTag) return true;
    uint64_t count;
    if (::read(event_, &count, sizeof count) < 0) count = 0;
    wake_armed_ = false;
  }
}

void Uring::wake() {
  uint64_t one = 1;
  if (event_ >= 0 && write(event_, &one, sizeof one) < 0) return;  // full counter: a wake-up is pending anyway
}

}  // namespace hw
#endif
