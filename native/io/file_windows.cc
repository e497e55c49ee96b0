#include <stdio.h>

#include <algorithm>
#include <memory>

#include "../system/windows.h"
#include "file_system.h"

namespace hw {

namespace {

HANDLE of(FileHandle handle) { return reinterpret_cast<HANDLE>(handle); }

// Whoever downloads, renames or deletes the file may go on, as on other systems; that it changed is noticed.
constexpr DWORD kShared = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
// A scanner holds a file that was just written for a moment.
constexpr int kTries = 10;
constexpr DWORD kTryMilliseconds = 50;
// NTFS and ReFS ask for whole sectors of at most this.
constexpr DWORD kLargestSector = 4096;

FileHandle open_with(const char* path, DWORD flags, DWORD* error) {
  const std::wstring wide = windows_path(path);
  *error = ERROR_INVALID_NAME;
  if (wide.empty()) return kNoFile;
  for (int i = 0; i < kTries; i++) {
    HANDLE handle = CreateFileW(wide.c_str(), GENERIC_READ, kShared, nullptr, OPEN_EXISTING, flags, nullptr);
    *error = handle == INVALID_HANDLE_VALUE ? GetLastError() : ERROR_SUCCESS;
    if (*error != ERROR_SHARING_VIOLATION) return reinterpret_cast<FileHandle>(handle);
    Sleep(kTryMilliseconds);
  }
  return kNoFile;
}

// Handles for overlapped reads want an event for each thread that waits.
HANDLE event_of_thread() {
  struct Event {
    HANDLE handle = CreateEventW(nullptr, TRUE, FALSE, nullptr);
    ~Event() { CloseHandle(handle); }
  };
  static thread_local Event event;
  return event.handle;
}

}  // namespace

FileHandle open_file(const char* path, int* error) {
  DWORD code;
  // FILE_FLAG_BACKUP_SEMANTICS opens a folder, too, which can then be called one.
  const FileHandle handle = open_with(path, FILE_FLAG_OVERLAPPED | FILE_FLAG_BACKUP_SEMANTICS, &code);
  *error = static_cast<int>(code);
  return handle;
}

FileHandle open_file_direct(const char* path) {
  DWORD code;
  const FileHandle handle = open_with(path, FILE_FLAG_OVERLAPPED | FILE_FLAG_NO_BUFFERING, &code);
  if (handle == kNoFile) return kNoFile;
  FILE_STORAGE_INFO storage = {};
  if (GetFileInformationByHandleEx(of(handle), FileStorageInfo, &storage, sizeof storage) != 0 &&
      storage.LogicalBytesPerSector > kLargestSector) {
    close_file(handle);
    return kNoFile;
  }
  return handle;
}

void close_file(FileHandle handle) { CloseHandle(of(handle)); }

int identify_file(FileHandle handle, FileIdentity* out) {
  out->regular = false;
  if (GetFileType(of(handle)) != FILE_TYPE_DISK) return 0;
  BY_HANDLE_FILE_INFORMATION info;
  if (GetFileInformationByHandle(of(handle), &info) == 0) return static_cast<int>(GetLastError());
  const int64_t ticks = static_cast<int64_t>(info.ftLastWriteTime.dwHighDateTime) << 32 |
                        info.ftLastWriteTime.dwLowDateTime;  // of 100 ns
  out->regular = (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY) == 0;
  out->bytes = static_cast<int64_t>(info.nFileSizeHigh) << 32 | info.nFileSizeLow;
  out->seconds = ticks / 10000000;
  out->nanoseconds = ticks % 10000000 * 100;
  out->number = static_cast<uint64_t>(info.nFileIndexHigh) << 32 | info.nFileIndexLow;
  out->device = info.dwVolumeSerialNumber;
  return 0;
}

int64_t read_file_at(FileHandle handle, int64_t offset, int64_t bytes, uint8_t* out) {
  OVERLAPPED place = {};
  place.Offset = static_cast<DWORD>(offset);
  place.OffsetHigh = static_cast<DWORD>(offset >> 32);
  place.hEvent = event_of_thread();
  const DWORD wanted = static_cast<DWORD>(std::min<int64_t>(bytes, int64_t{1} << 30));
  DWORD got = 0;
  if (ReadFile(of(handle), out, wanted, nullptr, &place) == 0 && GetLastError() != ERROR_IO_PENDING) {
    const DWORD error = GetLastError();
    return error == ERROR_HANDLE_EOF ? 0 : -static_cast<int64_t>(error);
  }
  if (GetOverlappedResult(of(handle), &place, &got, TRUE) == 0) {
    const DWORD error = GetLastError();
    return error == ERROR_HANDLE_EOF ? 0 : -static_cast<int64_t>(error);
  }
  return got;
}

void stop_readahead(FileHandle) {}
void forget_cached(FileHandle, int64_t, int64_t) {}

bool fetch_ahead(FileHandle, const uint8_t* mapped, int64_t offset, int64_t bytes) {
  MEMORYSTATUSEX memory = {};
  memory.dwLength = sizeof memory;
  // Beyond half of what is free, fetching would push out what was fetched.
  if (GlobalMemoryStatusEx(&memory) == 0 || memory.ullAvailPhys / 2 < static_cast<uint64_t>(bytes)) return false;
  WIN32_MEMORY_RANGE_ENTRY range = {const_cast<uint8_t*>(mapped) + offset, static_cast<SIZE_T>(bytes)};
  return PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0) != 0;
}

bool is_missing(int error) {
  return error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND || error == ERROR_INVALID_NAME ||
         error == ERROR_BAD_PATHNAME || error == ERROR_BAD_NETPATH || error == ERROR_BAD_NET_NAME ||
         error == ERROR_INVALID_DRIVE;
}
bool is_interrupted(int error) { return error == ERROR_OPERATION_ABORTED; }
bool is_refusal(int error) { return error == ERROR_INVALID_PARAMETER || error == ERROR_NOT_SUPPORTED; }
void describe_file_error(int error, char* out, size_t bytes) {
  snprintf(out, bytes, "%s", describe_windows_error(static_cast<DWORD>(error)).c_str());
}

}  // namespace hw
