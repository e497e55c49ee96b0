#include "nodes.h"

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>

#include <vector>
#endif

namespace hw {

#if defined(__linux__)
namespace {

constexpr int64_t kPageBytes = 4096;
constexpr int64_t kPagesBetweenLooks = 4096;

struct Toucher {
  const NodeBytes* ranges;
  size_t count;
  int node, cpu;
  const std::function<bool()>* stop;
  pthread_t handle;
  bool started;
};

bool bind_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
  CPU_SET(cpu, &set);
  return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0;
}

void* touch(void* pointer) {
  const Toucher& toucher = *static_cast<Toucher*>(pointer);
  if (!bind_to(toucher.cpu)) return nullptr;
  for (size_t i = 0; i < toucher.count; i++) {
    const NodeBytes& range = toucher.ranges[i];
    if (range.node != toucher.node) continue;
    for (int64_t at = 0, pages = 0; at < range.bytes; at += kPageBytes, pages++) {
      if (pages % kPagesBetweenLooks == 0 && (*toucher.stop)()) return nullptr;
      *const_cast<volatile uint8_t*>(range.data + at) = 0;
    }
  }
  return nullptr;
}

}  // namespace

void touch_on_nodes(const NodeBytes* ranges, size_t count, const int32_t* cpus, int nodes,
                    const std::function<bool()>& stop) {
  std::vector<Toucher> touchers(static_cast<size_t>(nodes));
  for (int node = 0; node < nodes; node++) {
    Toucher& toucher = touchers[static_cast<size_t>(node)];
    toucher = Toucher{ranges, count, node, cpus[node], &stop, pthread_t(), false};
    toucher.started = pthread_create(&toucher.handle, nullptr, touch, &toucher) == 0;
  }
  for (Toucher& toucher : touchers) {
    if (toucher.started) pthread_join(toucher.handle, nullptr);
  }
}
#else
void touch_on_nodes(const NodeBytes*, size_t, const int32_t*, int, const std::function<bool()>&) {}
#endif

}  // namespace hw
