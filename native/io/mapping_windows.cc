// A mapped file cannot be truncated or deleted on Windows, but what it lies on can go away: a network drive, a stick.
// Touching it then raises EXCEPTION_IN_PAGE_ERROR.
#include "../system/windows.h"
#include "mapping_guards.h"

namespace hw {

namespace {

// One thread at a time exchanges a view for reserved memory; pages of that are committed, as zeroes, when touched.
std::atomic<bool> exchanging{false};
constexpr SIZE_T kCommitAtOnce = 64 * 1024;

bool replace_view(MappingGuard& guard) {
  void* start = reinterpret_cast<void*>(guard.start.load(std::memory_order_relaxed));
  const uintptr_t end = guard.end.load(std::memory_order_acquire);
  while (exchanging.exchange(true)) SwitchToThread();
  bool ok = true;
  if (!guard.faulted.load()) {
    // Others that touch the range meanwhile get an access violation, and come here, too.
    guard.faulted.store(true, std::memory_order_release);
    UnmapViewOfFile(start);
    ok = VirtualAlloc(start, end - reinterpret_cast<uintptr_t>(start), MEM_RESERVE, PAGE_READONLY) != nullptr;
  }
  exchanging.store(false);
  return ok;
}

LONG CALLBACK on_exception(EXCEPTION_POINTERS* pointers) {
  const EXCEPTION_RECORD& record = *pointers->ExceptionRecord;
  const bool in_page = record.ExceptionCode == EXCEPTION_IN_PAGE_ERROR;
  if ((!in_page && record.ExceptionCode != EXCEPTION_ACCESS_VIOLATION) || record.NumberParameters < 2) {
    return EXCEPTION_CONTINUE_SEARCH;
  }
  const uintptr_t address = record.ExceptionInformation[1];
  for (MappingGuard& guard : mapping_guards) {
    if (!guard.holds(address)) continue;
    if (in_page && !replace_view(guard)) return EXCEPTION_CONTINUE_SEARCH;
    if (!guard.faulted.load(std::memory_order_acquire)) return EXCEPTION_CONTINUE_SEARCH;
    while (exchanging.load()) SwitchToThread();
    const uintptr_t page = address & ~uintptr_t{kCommitAtOnce - 1}, end = guard.end.load(std::memory_order_acquire);
    const SIZE_T bytes = page + kCommitAtOnce < end ? kCommitAtOnce : end - page;
    return VirtualAlloc(reinterpret_cast<void*>(page), bytes, MEM_COMMIT, PAGE_READONLY) != nullptr
               ? EXCEPTION_CONTINUE_EXECUTION
               : EXCEPTION_CONTINUE_SEARCH;
  }
  return EXCEPTION_CONTINUE_SEARCH;
}

}  // namespace

const uint8_t* map_file(FileHandle handle, int64_t bytes, int* error) {
  HANDLE section = CreateFileMappingW(reinterpret_cast<HANDLE>(handle), nullptr, PAGE_READONLY, 0, 0, nullptr);
  if (section == nullptr) {
    *error = static_cast<int>(GetLastError());
    return nullptr;
  }
  const void* view = MapViewOfFile(section, FILE_MAP_READ, 0, 0, static_cast<SIZE_T>(bytes));
  if (view == nullptr) *error = static_cast<int>(GetLastError());
  CloseHandle(section);  // the view keeps it alive
  return static_cast<const uint8_t*>(view);
}

void unmap_file(const uint8_t* data, int64_t) {
  // After a fault it is reserved memory instead.
  if (UnmapViewOfFile(data) == 0) VirtualFree(const_cast<uint8_t*>(data), 0, MEM_RELEASE);
}

void handle_mapping_faults() { AddVectoredExceptionHandler(1, on_exception); }

}  // namespace hw
