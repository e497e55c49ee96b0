// Compiled, never run by its author.
#include <stdint.h>
#include <sys/sysctl.h>

#include "cores.h"

namespace hw {

namespace {

int number(const char* name) {
  int32_t value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value > 0 ? value : 0;
}

}  // namespace

Cores count_cores() {
  Cores cores;
  cores.physical = number("hw.physicalcpu");
  if (cores.physical == 0) cores.physical = 1;
  // Level 0 are the performance cores; Intel's have no levels.
  const int fastest = number("hw.perflevel0.physicalcpu");
  cores.fastest = fastest > 0 ? fastest : cores.physical;
  return cores;
}

}  // namespace hw
