#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "cores.h"

namespace hw {

namespace {

int read_topology(int cpu, const char* name) {
  char path[128];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", cpu, name);
  FILE* file = fopen(path, "re");
  if (file == nullptr) return -1;
  int value = -1;
  if (fscanf(file, "%d", &value) != 1) value = -1;
  fclose(file);
  return value;
}

}  // namespace

// CPUs of different (package, core); all CPUs where the system does not tell.
Cores count_cores() {
  long cpus = sysconf(_SC_NPROCESSORS_CONF);
  if (cpus < 1) cpus = 1;
  if (cpus > 1024) cpus = 1024;
  int64_t seen[1024];
  int count = 0;
  for (int cpu = 0; cpu < cpus; cpu++) {
    int package = read_topology(cpu, "physical_package_id"), core = read_topology(cpu, "core_id");
    if (core < 0) continue;
    int64_t key = static_cast<int64_t>(package) << 32 | core;
    bool known = false;
    for (int i = 0; i < count && !known; i++) known = seen[i] == key;
    if (!known) seen[count++] = key;
  }
  const int physical = count > 0 ? count : static_cast<int>(cpus);
  return Cores{physical, physical};
}

}  // namespace hw
