#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "thread.h"

namespace hw {

void name_thread(const char* name) { pthread_setname_np(pthread_self(), name); }

bool bind_thread(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
  CPU_SET(cpu, &set);
  return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0;
}

bool Affinity::read() {
  static_assert(sizeof(cpu_set_t) <= sizeof words_, "1,024 CPUs");
  cpu_set_t set;
  if (pthread_getaffinity_np(pthread_self(), sizeof set, &set) != 0) return false;
  memcpy(words_, &set, sizeof set);
  return true;
}

void Affinity::restore() const {
  cpu_set_t set;
  memcpy(&set, words_, sizeof set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

}  // namespace hw
