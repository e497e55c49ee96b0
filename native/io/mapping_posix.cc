#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mapping_guards.h"

namespace hw {

namespace {

struct sigaction previous_action;

void on_bus_error(int signal, siginfo_t* info, void* context) {
  uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (MappingGuard& guard : mapping_guards) {
    if (!guard.holds(address)) continue;
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

}  // namespace

const uint8_t* map_file(FileHandle handle, int64_t bytes, int* error) {
  void* p = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ, MAP_SHARED, static_cast<int>(handle), 0);
  if (p == MAP_FAILED) {
    *error = errno;
    return nullptr;
  }
#ifdef MADV_HUGEPAGE
  // A cold file is then read into large pages where the file system has them: ext4, XFS and others of newer Linux.
  madvise(p, static_cast<size_t>(bytes), MADV_HUGEPAGE);
#endif
  return static_cast<const uint8_t*>(p);
}

void unmap_file(const uint8_t* data, int64_t bytes) { munmap(const_cast<uint8_t*>(data), static_cast<size_t>(bytes)); }

void handle_mapping_faults() {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &previous_action);
}

}  // namespace hw
