#include "nodes.h"

#include <vector>

#include "../system/thread.h"

namespace hw {

namespace {

constexpr int64_t kPageBytes = 4096;
constexpr int64_t kPagesBetweenLooks = 4096;

struct Toucher {
  const NodeBytes* ranges;
  size_t count;
  int node, cpu;
  const std::function<bool()>* stop;
  SystemThread thread;
  bool started;
};

void touch(void* pointer) {
  const Toucher& toucher = *static_cast<Toucher*>(pointer);
  if (!bind_thread(toucher.cpu)) return;
  for (size_t i = 0; i < toucher.count; i++) {
    const NodeBytes& range = toucher.ranges[i];
    if (range.node != toucher.node) continue;
    for (int64_t at = 0, pages = 0; at < range.bytes; at += kPageBytes, pages++) {
      if (pages % kPagesBetweenLooks == 0 && (*toucher.stop)()) return;
      *const_cast<volatile uint8_t*>(range.data + at) = 0;
    }
  }
}

}  // namespace

void touch_on_nodes(const NodeBytes* ranges, size_t count, const int32_t* cpus, int nodes,
                    const std::function<bool()>& stop) {
  std::vector<Toucher> touchers(static_cast<size_t>(nodes));
  for (int node = 0; node < nodes; node++) {
    Toucher& toucher = touchers[static_cast<size_t>(node)];
    toucher = Toucher{ranges, count, node, cpus[node], &stop, SystemThread(), false};
    toucher.started = toucher.thread.start(touch, &toucher);
  }
  for (Toucher& toucher : touchers) {
    if (toucher.started) toucher.thread.join();
  }
}

}  // namespace hw
