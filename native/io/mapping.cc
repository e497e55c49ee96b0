#include "mapping.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <mutex>

namespace hw {

namespace {

// What the signal handler may look at: no locks, no memory. A range is published by its end and withdrawn by it.
struct Guard {
  std::atomic<uintptr_t> start{0}, end{0};
  std::atomic<bool> used{false}, faulted{false};
};
constexpr int kMostGuards = 256;
Guard guards[kMostGuards];
struct sigaction previous_action;
std::once_flag install_once;

void on_bus_error(int signal, siginfo_t* info, void* context) {
  uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (Guard& guard : guards) {
    uintptr_t end = guard.end.load(std::memory_order_acquire);
    if (address >= end || address < guard.start.load(std::memory_order_relaxed)) continue;
    int saved = errno;
    uintptr_t page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    uintptr_t page = address & ~(page_size - 1);
    // Everything behind is gone too, most likely; but what is not must stay what it is, so page by page.
    void* p = mmap(reinterpret_cast<void*>(page), page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    errno = saved;
    if (p == MAP_FAILED) break;
    guard.faulted.store(true, std::memory_order_release);
    return;
  }
  // Not ours: as if we were not here.
  if ((previous_action.sa_flags & SA_SIGINFO) != 0 && previous_action.sa_sigaction != nullptr) {
    previous_action.sa_sigaction(signal, info, context);
    return;
  }
  if (previous_action.sa_handler != SIG_DFL && previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal);
    return;
  }
  // The fault repeats under the default action and ends the process.
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  sigaction(SIGBUS, &action, nullptr);
}

void install_handler() {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous_action);
}

}  // namespace

Status Mapping::open(const DataFile& file) {
  bytes_ = file.bytes();
  if (bytes_ == 0) return done();
  for (int i = 0; i < kMostGuards && guard_ < 0; i++) {
    if (!guards[i].used.exchange(true)) guard_ = i;
  }
  if (guard_ < 0) return fail("FILE_IO", "more than %d files are mapped at once", kMostGuards);
  void* p = mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ, MAP_SHARED, file.fd(), 0);
  if (p == MAP_FAILED) return fail("FILE_IO", "cannot map %.300s: %s", file.path(), strerror(errno));
#ifdef MADV_HUGEPAGE
  // A cold file is then read into large pages where the file system has them: ext4, XFS and others of newer Linux.
  madvise(p, static_cast<size_t>(bytes_), MADV_HUGEPAGE);
#endif
  std::call_once(install_once, install_handler);
  data_ = static_cast<const uint8_t*>(p);
  Guard& guard = guards[guard_];
  guard.faulted.store(false, std::memory_order_relaxed);
  guard.start.store(reinterpret_cast<uintptr_t>(p), std::memory_order_relaxed);
  guard.end.store(reinterpret_cast<uintptr_t>(p) + static_cast<uintptr_t>(bytes_), std::memory_order_release);
  return done();
}

bool Mapping::faulted() const { return guard_ >= 0 && guards[guard_].faulted.load(std::memory_order_acquire); }

Mapping::~Mapping() {
  if (guard_ >= 0) guards[guard_].end.store(0, std::memory_order_release);
  if (data_ != nullptr) munmap(const_cast<uint8_t*>(data_), static_cast<size_t>(bytes_));
  if (guard_ >= 0) guards[guard_].used.store(false, std::memory_order_release);
}

}  // namespace hw
