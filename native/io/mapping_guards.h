// Mapped files, as the handler of faults sees them: no locks, no memory. A range is published by its end and withdrawn
// by it.
#pragma once
#include <stdint.h>

#include <atomic>

#include "file_system.h"

namespace hw {

struct MappingGuard {
  std::atomic<uintptr_t> start{0}, end{0};
  std::atomic<bool> used{false}, faulted{false};
  bool holds(uintptr_t address) const {
    return address < end.load(std::memory_order_acquire) && address >= start.load(std::memory_order_relaxed);
  }
};
constexpr int kMostGuards = 256;
extern MappingGuard mapping_guards[kMostGuards];

// mapping_posix.cc, mapping_windows.cc. Null and the system's error number when that fails.
const uint8_t* map_file(FileHandle handle, int64_t bytes, int* error);
void unmap_file(const uint8_t* data, int64_t bytes);
// Pages of a guarded range that cannot be read become zeroes, and the guard says so. Once a process.
void handle_mapping_faults();

}  // namespace hw
