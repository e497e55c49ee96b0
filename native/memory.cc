#include "memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

namespace hw {

// From here on the kernel's zero pages are cheaper than memset, and untouched capacity costs nothing.
static constexpr size_t kMapFrom = 256 * 1024;

Account& Account::of_process() {
  static Account* account = new Account;
  return *account;
}

bool Counters::promise(int64_t bytes, int64_t limit) {
  Account& account = Account::of_process();
  int64_t all = account.promised.load();
  do {
    if (limit > 0 && all - promised_ + bytes > limit) return false;
  } while (!account.promised.compare_exchange_weak(all, all - promised_ + bytes));
  promised_ = bytes;
  return true;
}

bool Counters::charge(int64_t bytes) {
  if (promised_ > 0 && charged_ + bytes > promised_) return false;
  charged_ += bytes;
  Account& account = Account::of_process();
  int64_t all = account.charged.fetch_add(bytes) + bytes, peak = account.peak.load();
  while (all > peak && !account.peak.compare_exchange_weak(peak, all)) {
  }
  return true;
}

void Counters::refund(int64_t bytes) {
  charged_ -= bytes;
  Account::of_process().charged.fetch_sub(bytes);
}

bool Buffer::allocate(Counters* counters, Purpose purpose, size_t bytes, bool huge_pages) {
  reset();
  if (bytes == 0) return true;
  bytes = (bytes + 63) & ~static_cast<size_t>(63);
  if (!counters->charge(static_cast<int64_t>(bytes))) return false;
  if (bytes >= kMapFrom) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
      counters->refund(static_cast<int64_t>(bytes));
      return false;
    }
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
      counters->refund(static_cast<int64_t>(bytes));
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
  counters_->refund(static_cast<int64_t>(bytes_));
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace hw
