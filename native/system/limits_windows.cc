#include "limits.h"

#include <algorithm>

#include "windows.h"
// After windows.h, which it needs.
#include <psapi.h>

namespace hw {

namespace {

double private_bytes() {
  PROCESS_MEMORY_COUNTERS_EX own = {};
  own.cb = sizeof own;
  if (K32GetProcessMemoryInfo(GetCurrentProcess(), reinterpret_cast<PROCESS_MEMORY_COUNTERS*>(&own), sizeof own) == 0) {
    return -1;
  }
  return static_cast<double>(own.PrivateUsage);
}

}  // namespace

MemoryState memory_state() {
  MemoryState state;
  state.own = private_bytes();
  MEMORYSTATUSEX memory = {};
  memory.dwLength = sizeof memory;
  if (GlobalMemoryStatusEx(&memory) != 0) {
    state.total = static_cast<double>(memory.ullTotalPhys);
    state.available = static_cast<double>(memory.ullAvailPhys);
    state.commit_limit = static_cast<double>(memory.ullTotalPageFile);
    state.commit_left = static_cast<double>(memory.ullAvailPageFile);
  }
  // Of the innermost job; containers of Windows are jobs, too.
  BOOL in_job = FALSE;
  JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {};
  if (IsProcessInJob(GetCurrentProcess(), nullptr, &in_job) == 0 || in_job == FALSE ||
      QueryInformationJobObject(nullptr, JobObjectExtendedLimitInformation, &limits, sizeof limits, nullptr) == 0) {
    return state;
  }
  const DWORD flags = limits.BasicLimitInformation.LimitFlags;
  const double own = std::max(0.0, state.own);
  if ((flags & JOB_OBJECT_LIMIT_PROCESS_MEMORY) != 0) {
    state.job_limit = static_cast<double>(limits.ProcessMemoryLimit);
    state.job_left = std::max(0.0, state.job_limit - own);
  }
  if ((flags & JOB_OBJECT_LIMIT_JOB_MEMORY) != 0) {
    const double limit = static_cast<double>(limits.JobMemoryLimit);
    // What the others of the job hold is not told, only what all of them held at most.
    if (state.job_limit < 0 || limit < state.job_limit) {
      state.job_limit = limit;
      state.job_left = std::max(0.0, limit - own);
    }
  }
  return state;
}

// A job of its own: what goes beyond the limit is refused. The job lives as long as the process.
int32_t limit_own_memory(int32_t growth) {
  const double own = private_bytes();
  if (own < 0) return 0;
  HANDLE job = CreateJobObjectW(nullptr, nullptr);
  if (job == nullptr) return 0;
  JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {};
  limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_PROCESS_MEMORY;
  limits.ProcessMemoryLimit = static_cast<SIZE_T>(own) + static_cast<SIZE_T>(growth);
  if (SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits) == 0 ||
      AssignProcessToJobObject(job, GetCurrentProcess()) == 0) {
    CloseHandle(job);
    return 0;
  }
  return 1;
}

// A byte that no file has: locks of Windows keep others from reading and writing what is locked.
int32_t lock_descriptor(int32_t descriptor) {
  // The numbers of descriptors are those of the host's C library, not of ours.
  typedef HANDLE (*HandleOf)(int);
  static const HandleOf handle_of = function_of<HandleOf>(nullptr, "uv_get_osfhandle");
  if (handle_of == nullptr) return -1;
  HANDLE file = handle_of(descriptor);
  if (file == INVALID_HANDLE_VALUE || file == nullptr) return -1;
  OVERLAPPED place = {};
  place.OffsetHigh = 0x7fffffff;
  if (LockFileEx(file, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &place) != 0) return 1;
  const DWORD error = GetLastError();
  return error == ERROR_LOCK_VIOLATION || error == ERROR_IO_PENDING ? 0 : -1;
}

}  // namespace hw
