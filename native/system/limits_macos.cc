// Compiled, never run by its author.
#include <mach/mach.h>
#include <stdint.h>
#include <sys/sysctl.h>

#include "limits.h"

namespace hw {

MemoryState memory_state() {
  MemoryState state;
  uint64_t total = 0;
  size_t size = sizeof total;
  if (sysctlbyname("hw.memsize", &total, &size, nullptr, 0) == 0) state.total = static_cast<double>(total);
  vm_statistics64_data_t pages = {};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  if (host_statistics64(mach_host_self(), HOST_VM_INFO64, reinterpret_cast<host_info64_t>(&pages), &count) ==
      KERN_SUCCESS) {
    // What is free, and what holds files and can be dropped.
    const double usable = static_cast<double>(pages.free_count) + static_cast<double>(pages.external_page_count) +
                          static_cast<double>(pages.purgeable_count);
    state.available = usable * static_cast<double>(vm_kernel_page_size);
  }
  task_vm_info_data_t own = {};
  count = TASK_VM_INFO_COUNT;
  if (task_info(mach_task_self(), TASK_VM_INFO, reinterpret_cast<task_info_t>(&own), &count) == KERN_SUCCESS) {
    state.own = static_cast<double>(own.phys_footprint);
  }
  int32_t pressure = 0;
  size = sizeof pressure;
  if (sysctlbyname("kern.memorystatus_vm_pressure_level", &pressure, &size, nullptr, 0) == 0) {
    state.pressure = pressure;
  }
  return state;
}

// RLIMIT_DATA and RLIMIT_AS do not bound what is mapped there.
int32_t limit_own_memory(int32_t) { return 0; }

}  // namespace hw
