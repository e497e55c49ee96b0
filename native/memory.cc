#include "memory.h"

#include <string.h>

#include <new>

#include "system/pages.h"

namespace hw {

// From here on the kernel's zero pages are cheaper than memset, and untouched capacity costs nothing.
static constexpr size_t kMapFrom = 256 * 1024;
static constexpr std::align_val_t kAlign{64};

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
    data_ = map_lazy_pages(bytes, huge_pages);
    mapped_ = true;
  } else {
    data_ = ::operator new(bytes, kAlign, std::nothrow);
    if (data_ != nullptr) memset(data_, 0, bytes);
    mapped_ = false;
  }
  if (data_ == nullptr) {
    counters->refund(static_cast<int64_t>(bytes));
    return false;
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
    unmap_pages(static_cast<uint8_t*>(data_), bytes_);
  } else {
    ::operator delete(data_, kAlign);
  }
  counters_->bytes[static_cast<int>(purpose_)] -= static_cast<int64_t>(bytes_);
  counters_->refund(static_cast<int64_t>(bytes_));
  data_ = nullptr;
  bytes_ = 0;
}

}  // namespace hw
