// macOS binds no thread to a CPU; a class of service says which kind of core a thread is for. Compiled, never run by
// its author.
#include <pthread.h>
#include <pthread/qos.h>

#include "thread.h"

namespace hw {

void name_thread(const char* name) {
  pthread_setname_np(name);
  // Threads of no class may be put on efficiency cores, and a region waits for its slowest part.
  pthread_set_qos_class_self_np(QOS_CLASS_USER_INITIATED, 0);
}

bool bind_thread(int) { return false; }
bool Affinity::read() { return false; }
void Affinity::restore() const {}

}  // namespace hw
