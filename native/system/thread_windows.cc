#include <new>

#include "thread.h"
#include "windows.h"

namespace hw {

namespace {

struct Start {
  void (*main)(void*);
  void* argument;
};

DWORD WINAPI run(void* pointer) {
  const Start start = *static_cast<Start*>(pointer);
  delete static_cast<Start*>(pointer);
  start.main(start.argument);
  return 0;
}

// CPUs are counted through the processor groups, each of which has at most 64.
bool place_of(int cpu, GROUP_AFFINITY* out) {
  if (cpu < 0) return false;
  *out = {};
  const WORD groups = GetActiveProcessorGroupCount();
  for (WORD group = 0; group < groups; group++) {
    const int here = static_cast<int>(GetActiveProcessorCount(group));
    if (cpu < here) {
      out->Group = group;
      out->Mask = KAFFINITY{1} << cpu;
      return true;
    }
    cpu -= here;
  }
  return false;
}

}  // namespace

bool SystemThread::start(void (*main)(void*), void* argument) {
  Start* start = new (std::nothrow) Start{main, argument};
  if (start == nullptr) return false;
  HANDLE thread = CreateThread(nullptr, 0, run, start, 0, nullptr);
  if (thread == nullptr) {
    delete start;
    return false;
  }
  handle_ = reinterpret_cast<uintptr_t>(thread);
  return true;
}

void SystemThread::join() {
  HANDLE thread = reinterpret_cast<HANDLE>(handle_);
  WaitForSingleObject(thread, INFINITE);
  CloseHandle(thread);
}

void name_thread(const char* name) {
  // Newer than the oldest Windows 10 that runs Node.
  typedef HRESULT(WINAPI * SetDescription)(HANDLE, PCWSTR);
  static const SetDescription set = function_of<SetDescription>(L"kernel32.dll", "SetThreadDescription");
  wchar_t wide[64];
  if (set == nullptr || MultiByteToWideChar(CP_UTF8, 0, name, -1, wide, 64) == 0) return;
  set(GetCurrentThread(), wide);
}

void yield_thread() { SwitchToThread(); }

int64_t monotonic_nanoseconds() {
  static const int64_t frequency = [] {
    LARGE_INTEGER f;
    QueryPerformanceFrequency(&f);
    return f.QuadPart;
  }();
  LARGE_INTEGER now;
  QueryPerformanceCounter(&now);
  // Apart, so that the product fits 64 bits.
  return now.QuadPart / frequency * 1000000000 + now.QuadPart % frequency * 1000000000 / frequency;
}

int64_t thread_nanoseconds() { return monotonic_nanoseconds(); }

bool bind_thread(int cpu) {
  GROUP_AFFINITY place;
  return place_of(cpu, &place) && SetThreadGroupAffinity(GetCurrentThread(), &place, nullptr) != 0;
}

bool Affinity::read() {
  GROUP_AFFINITY place;
  if (GetThreadGroupAffinity(GetCurrentThread(), &place) == 0) return false;
  words_[0] = place.Mask;
  words_[1] = place.Group;
  return true;
}

void Affinity::restore() const {
  GROUP_AFFINITY place = {};
  place.Mask = static_cast<KAFFINITY>(words_[0]);
  place.Group = static_cast<WORD>(words_[1]);
  SetThreadGroupAffinity(GetCurrentThread(), &place, nullptr);
}

}  // namespace hw
