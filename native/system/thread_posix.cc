#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include <initializer_list>
#include <new>

#include "thread.h"

namespace hw {

namespace {

struct Start {
  void (*main)(void*);
  void* argument;
};

void* run(void* pointer) {
  const Start start = *static_cast<Start*>(pointer);
  delete static_cast<Start*>(pointer);
  start.main(start.argument);
  return nullptr;
}

int64_t nanoseconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<int64_t>(t.tv_sec) * 1000000000 + t.tv_nsec;
}

static_assert(sizeof(pthread_t) <= sizeof(uintptr_t), "a handle holds a pthread_t");

}  // namespace

bool SystemThread::start(void (*main)(void*), void* argument) {
  Start* start = new (std::nothrow) Start{main, argument};
  if (start == nullptr) return false;
  // Our threads must not run the signal handlers of the program that loaded us. A fault that is blocked kills the
  // process whatever the handler, and mapped files that shrink are handled (io/mapping_posix.cc).
  sigset_t all, before;
  sigfillset(&all);
  for (int fault : {SIGBUS, SIGSEGV, SIGFPE, SIGILL}) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const bool ok = pthread_create(&thread, nullptr, run, start) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!ok) {
    delete start;
    return false;
  }
  memcpy(&handle_, &thread, sizeof thread);
  return true;
}

void SystemThread::join() {
  pthread_t thread;
  memcpy(&thread, &handle_, sizeof thread);
  pthread_join(thread, nullptr);
}

void yield_thread() { sched_yield(); }

int64_t monotonic_nanoseconds() { return nanoseconds(CLOCK_MONOTONIC); }

int64_t thread_nanoseconds() { return nanoseconds(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace hw
