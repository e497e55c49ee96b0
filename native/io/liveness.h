// Whether the engine gets on, for a thread that watches it: of the whole process, because the watcher has no model.
#pragma once
#include <atomic>
#include <cstdint>

namespace hw {

// Tiles finished: counted where the cancel flag is polled. Lost counts do no harm, so it is no locked addition.
inline std::atomic<uint32_t> finished_tiles{0};
// Threads that wait for a read from the disk.
inline std::atomic<int32_t> disk_waits{0};

inline void count_tile() {
  finished_tiles.store(finished_tiles.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

class DiskWait {
 public:
  DiskWait() { disk_waits.fetch_add(1, std::memory_order_relaxed); }
  ~DiskWait() { disk_waits.fetch_sub(1, std::memory_order_relaxed); }
  DiskWait(const DiskWait&) = delete;
  DiskWait& operator=(const DiskWait&) = delete;
};

}  // namespace hw
