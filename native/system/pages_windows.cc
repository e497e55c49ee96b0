#include "pages.h"

#include <mutex>

#include "windows.h"

namespace hw {

namespace {

// Large pages want the privilege "Lock pages in memory", which a user is given by policy and a process must switch on.
bool may_use_large_pages() {
  static const bool allowed = [] {
    HANDLE token = nullptr;
    if (OpenProcessToken(GetCurrentProcess(), TOKEN_ADJUST_PRIVILEGES | TOKEN_QUERY, &token) == 0) return false;
    TOKEN_PRIVILEGES wanted = {};
    wanted.PrivilegeCount = 1;
    wanted.Privileges[0].Attributes = SE_PRIVILEGE_ENABLED;
    bool ok = LookupPrivilegeValueW(nullptr, L"SeLockMemoryPrivilege", &wanted.Privileges[0].Luid) != 0 &&
              AdjustTokenPrivileges(token, FALSE, &wanted, 0, nullptr, nullptr) != 0 &&
              GetLastError() == ERROR_SUCCESS;  // ERROR_NOT_ALL_ASSIGNED: the user has it not
    CloseHandle(token);
    return ok && GetLargePageMinimum() == kHugePage;
  }();
  return allowed;
}

MEMORY_BASIC_INFORMATION region_of(const uint8_t* pages) {
  MEMORY_BASIC_INFORMATION region = {};
  VirtualQuery(pages, &region, sizeof region);
  return region;
}

std::mutex& quota_mutex() {
  static std::mutex* mutex = new std::mutex;  // never destroyed: environments may end after static objects
  return *mutex;
}

// The least and the most of physical memory this process has, moved by so many bytes.
bool move_quota(int64_t bytes) {
  SIZE_T least = 0, most = 0;
  DWORD flags = 0;
  if (GetProcessWorkingSetSizeEx(GetCurrentProcess(), &least, &most, &flags) == 0) return false;
  const int64_t low = static_cast<int64_t>(least) + bytes, high = static_cast<int64_t>(most) + bytes;
  if (low < 1 || high <= low) return false;
  least = static_cast<SIZE_T>(low), most = static_cast<SIZE_T>(high);
  return SetProcessWorkingSetSizeEx(GetCurrentProcess(), least, most, flags) != 0;
}

}  // namespace

uint8_t* map_lazy_pages(size_t bytes, bool) {
  return static_cast<uint8_t*>(VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
}

uint8_t* map_kept_pages(size_t bytes, size_t align) {
  if (align == kHugePage && may_use_large_pages()) {
    const size_t whole = (bytes + kHugePage - 1) & ~(kHugePage - 1);
    void* large = VirtualAlloc(nullptr, whole, MEM_RESERVE | MEM_COMMIT | MEM_LARGE_PAGES, PAGE_READWRITE);
    if (large != nullptr) return static_cast<uint8_t*>(large);  // else memory is too scattered
  }
  // Reserved places cost nothing: what lies around the aligned part stays reserved and is never committed.
  void* reserved = VirtualAlloc(nullptr, bytes + align, MEM_RESERVE, PAGE_READWRITE);
  if (reserved == nullptr) return nullptr;
  const uintptr_t mask = align - 1;
  void* first = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(reserved) + mask) & ~mask);
  if (VirtualAlloc(first, bytes, MEM_COMMIT, PAGE_READWRITE) == nullptr) {
    VirtualFree(reserved, 0, MEM_RELEASE);
    return nullptr;
  }
  return static_cast<uint8_t*>(first);
}

void unmap_pages(uint8_t* pages, size_t) { VirtualFree(region_of(pages).AllocationBase, 0, MEM_RELEASE); }

// Of large pages nothing is given back apart: the system refuses, and says so.
bool give_back_pages(uint8_t* first, size_t bytes) { return VirtualFree(first, bytes, MEM_DECOMMIT) != 0; }

bool lock_pages(uint8_t* pages, size_t bytes) {
  std::lock_guard<std::mutex> lock(quota_mutex());
  // At most as much as the least working set, less a few pages, can be locked: that is raised first.
  if (!move_quota(static_cast<int64_t>(bytes))) return false;
  if (VirtualLock(pages, bytes) != 0) return true;
  move_quota(-static_cast<int64_t>(bytes));
  return false;
}

void unlock_pages(uint8_t* pages, size_t bytes) {
  std::lock_guard<std::mutex> lock(quota_mutex());
  VirtualUnlock(pages, bytes);
  move_quota(-static_cast<int64_t>(bytes));
}

void advise_small_pages(uint8_t*, size_t) {}

}  // namespace hw
