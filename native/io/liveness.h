// Whether the engine gets on, for a thread that watches it: of the whole process, because the watcher has no model.
#pragma once
#include <atomic>
#include <cstdint>

namespace hw {

// Tiles finished: counted where the cancel flag is polled, by each thread in a line of its own, because a line that all
// of them write moves between the cores with every tile. Two threads of one line lose counts now and then, which does
// no harm: it is no locked addition.
constexpr uint32_t kTileCounts = 64;
struct alignas(64) TileCount {
  std::atomic<uint32_t> tiles{0};
};
inline TileCount tile_counts[kTileCounts];
inline std::atomic<uint32_t> tile_threads{0};
// Threads that wait for a read from the disk.
inline std::atomic<int32_t> disk_waits{0};

inline void count_tile() {
  static thread_local TileCount* mine = nullptr;
  if (mine == nullptr) mine = &tile_counts[tile_threads.fetch_add(1, std::memory_order_relaxed) % kTileCounts];
  mine->tiles.store(mine->tiles.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

// Grows whenever a tile is finished; it wraps around.
inline uint32_t finished_tiles() {
  uint32_t sum = 0;
  for (const TileCount& count : tile_counts) sum += count.tiles.load(std::memory_order_relaxed);
  return sum;
}

class DiskWait {
 public:
  DiskWait() { disk_waits.fetch_add(1, std::memory_order_relaxed); }
  ~DiskWait() { disk_waits.fetch_sub(1, std::memory_order_relaxed); }
  DiskWait(const DiskWait&) = delete;
  DiskWait& operator=(const DiskWait&) = delete;
};

}  // namespace hw
