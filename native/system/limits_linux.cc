#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "limits.h"

namespace hw {

// Everything is read from /proc and the cgroup's files in TypeScript (weights/memory-limit.ts).
MemoryState memory_state() { return MemoryState(); }

// RLIMIT_DATA counts private writable mappings, heaps of V8 included: what goes beyond it is refused, not killed. An
// abort for want of memory is expected then, so no core of it is kept.
int32_t limit_own_memory(int32_t growth) {
  long pages[6] = {0};
  FILE* file = fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  const int found =
      fscanf(file, "%ld %ld %ld %ld %ld %ld", &pages[0], &pages[1], &pages[2], &pages[3], &pages[4], &pages[5]);
  fclose(file);
  if (found != 6) return 0;
  rlimit data{};
  if (getrlimit(RLIMIT_DATA, &data) != 0) return 0;
  const rlim_t wanted =
      static_cast<rlim_t>(pages[5]) * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + static_cast<rlim_t>(growth);
  if (data.rlim_cur == RLIM_INFINITY || wanted < data.rlim_cur) data.rlim_cur = wanted;
  rlimit core{};
  if (getrlimit(RLIMIT_CORE, &core) == 0) {
    core.rlim_cur = 0;
    setrlimit(RLIMIT_CORE, &core);
  }
  return setrlimit(RLIMIT_DATA, &data) == 0 ? 1 : 0;
}

}  // namespace hw
