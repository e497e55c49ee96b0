#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

namespace hw {

// From here on the kernel's zero pages are cheaper than memset, and untouched capacity costs nothing.
static constexpr size_t kMapFrom = 256 * 1024;

bool Buffer::allocate(Counters* counters, Purpose purpose, size_t bytes, bool huge_pages) {
  reset();
  if (bytes == 0) return true;
  bytes = (bytes + 63) & ~static_cast<size_t>(63);
  if (bytes >= kMapFrom) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return false;
#ifdef MADV_HUGEPAGE
    if (huge_pages) madvise(p, bytes, MADV_HUGEPAGE);
#else
    (void)huge_pages;
#endif
    data_ = p;
    mapped_ = true;
  } else {
    if (posix_memalign(&data_, 64, bytes) != 0) {
      data_ = nullptr;
      return false;
    }
    memset(data_, 0, bytes);
    mapped_ = false;
  }
  bytes_ = bytes;
  counters_ = counters;
  purpose_ = purpose;
  counters->bytes[static_cast<int>(purpose)] += static_cast<int64_t>(bytes);
  counters->allocations++;
  return true;
}

void Buffer::reset() {
  if (data_ == nullptr) return;
  if (mapped_) {
    munmap(data_, bytes_);
  } else {
    free(data_);
  }
  counters_->bytes[static_cast<int>(purpose_)] -= static_cast<int64_t>(bytes_);
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace hw
