// What the system lets this process have: limits_posix.cc, limits_linux.cc, limits_macos.cc, limits_windows.cc.
#pragma once
#include <stdint.h>

namespace hw {

// In bytes; negative: there is no such limit, or it is not known.
struct MemoryState {
  double total = -1, available = -1;
  // What all programs may commit (Windows: memory and page files), and what of it is left.
  double commit_limit = -1, commit_left = -1;
  // Of the job this process belongs to (Windows), and what is left of it.
  double job_limit = -1, job_left = -1;
  // Private memory of this process.
  double own = -1;
  // Memory pressure as macOS counts it: 1 normal, 2 warning, 4 critical.
  double pressure = -1;
};
MemoryState memory_state();

// From now on this process may take so many bytes more; beyond that allocations fail. 0: the system cannot say so.
int32_t limit_own_memory(int32_t growth);

// 1: locked until the descriptor is closed; 0: another one holds it; -1: there are no locks.
int32_t lock_descriptor(int32_t descriptor);

}  // namespace hw
