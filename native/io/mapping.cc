#include "mapping.h"

#include <algorithm>
#include <mutex>

#include "mapping_guards.h"

namespace hw {

MappingGuard mapping_guards[kMostGuards];

namespace {
std::once_flag install_once;
// Short enough to stop soon when the file is closed.
constexpr int64_t kFetchAtOnce = int64_t{16} << 20;
}  // namespace

Status Mapping::open(const DataFile& file) {
  bytes_ = file.bytes();
  if (bytes_ == 0) return done();
  for (int i = 0; i < kMostGuards && guard_ < 0; i++) {
    if (!mapping_guards[i].used.exchange(true)) guard_ = i;
  }
  if (guard_ < 0) return fail("FILE_IO", "more than %d files are mapped at once", kMostGuards);
  int error = 0;
  data_ = map_file(file.handle(), bytes_, &error);
  if (data_ == nullptr) {
    char why[240];
    describe_file_error(error, why, sizeof why);
    return fail("FILE_IO", "cannot map %.300s: %s", file.path(), why);
  }
  std::call_once(install_once, handle_mapping_faults);
  MappingGuard& guard = mapping_guards[guard_];
  guard.faulted.store(false, std::memory_order_relaxed);
  guard.start.store(reinterpret_cast<uintptr_t>(data_), std::memory_order_relaxed);
  guard.end.store(reinterpret_cast<uintptr_t>(data_) + static_cast<uintptr_t>(bytes_), std::memory_order_release);
  handle_ = file.handle();
  fetched_ = std::min(bytes_, kFetchAtOnce);
  if (fetch_ahead(handle_, data_, 0, fetched_)) fetching_ = fetcher_.start(&Mapping::fetch, this);
  return done();
}

// Windows and macOS read a mapped file in small pieces as it is touched; asked beforehand they read it as fast as the
// disk does.
void Mapping::fetch(void* self) {
  Mapping& mapping = *static_cast<Mapping*>(self);
  for (int64_t at = mapping.fetched_; at < mapping.bytes_ && !mapping.stop_.load(); at += kFetchAtOnce) {
    if (!fetch_ahead(mapping.handle_, mapping.data_, at, std::min(kFetchAtOnce, mapping.bytes_ - at))) return;
  }
}

bool Mapping::faulted() const {
  return guard_ >= 0 && mapping_guards[guard_].faulted.load(std::memory_order_acquire);
}

Mapping::~Mapping() {
  stop_.store(true);
  if (fetching_) fetcher_.join();
  if (guard_ >= 0) mapping_guards[guard_].end.store(0, std::memory_order_release);
  if (data_ != nullptr) unmap_file(data_, bytes_);
  if (guard_ >= 0) mapping_guards[guard_].used.store(false, std::memory_order_release);
}

}  // namespace hw
