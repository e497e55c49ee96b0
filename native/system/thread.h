// Threads of the system, without the signals of the program that loaded us, and where they run. One file a system:
// thread_posix.cc, thread_windows.cc; affinity_linux.cc, affinity_macos.cc.
#pragma once
#include <stdint.h>

namespace hw {

class SystemThread {
 public:
  // False when the system refuses a thread. `main` must not return before `join` may be called.
  bool start(void (*main)(void*), void* argument);
  void join();

 private:
  uintptr_t handle_ = 0;  // pthread_t, HANDLE
};

// Of the calling thread: how debuggers show it, where the system can.
void name_thread(const char* name);
// Offers the CPU to a thread that waits for one.
void yield_thread();
int64_t monotonic_nanoseconds();
// Processor time of the calling thread; on Windows, which counts that in steps of 16 ms, the time that goes by.
int64_t thread_nanoseconds();

// Binds the calling thread to a CPU. False where the system refuses, or has no such thing (macOS, which is told
// instead that the thread is for the cores that are fast).
bool bind_thread(int cpu);

// What the calling thread was bound to, to be put back.
class Affinity {
 public:
  // False where it is not known.
  bool read();
  void restore() const;

 private:
  static constexpr int kWords = 16;
  [[maybe_unused]] uint64_t words_[kWords] = {};  // 1,024 CPUs; on Windows a mask and its group; none on macOS
};

}  // namespace hw
