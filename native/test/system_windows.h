#pragma once
#include <stdio.h>

#include "../system/windows.h"

namespace test_system {

inline size_t page_bytes() { return 4096; }

inline uint8_t* map_guarded(size_t bytes) {
  uint8_t* data = static_cast<uint8_t*>(VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE));
  if (data == nullptr) return nullptr;
  DWORD before;
  return VirtualProtect(data + bytes - page_bytes(), page_bytes(), PAGE_NOACCESS, &before) != 0 ? data : nullptr;
}
inline void unmap_guarded(uint8_t* data, size_t) { VirtualFree(data, 0, MEM_RELEASE); }

inline HANDLE open_to_write(const std::string& path, DWORD how) {
  return CreateFileW(hw::windows_path(path.c_str()).c_str(), GENERIC_WRITE,
                     FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, nullptr, how, 0, nullptr);
}

inline std::string write_temporary(const char* stem, const void* data, size_t bytes) {
  static int count = 0;
  wchar_t folder[MAX_PATH + 1];
  if (GetTempPathW(MAX_PATH + 1, folder) == 0) return "";
  char name[160], utf8[800];
  WideCharToMultiByte(CP_UTF8, 0, folder, -1, utf8, sizeof utf8, nullptr, nullptr);
  // A name that is not of the system's old code pages.
  snprintf(name, sizeof name, "hundredweight \xe2\x82\xac\xce\xbb %s-%lu-%llu-%d", stem, GetCurrentProcessId(),
           static_cast<unsigned long long>(GetTickCount64()), count++);
  const std::string path = std::string(utf8) + name;
  HANDLE file = open_to_write(path, CREATE_NEW);
  if (file == INVALID_HANDLE_VALUE) return "";
  DWORD written = 0;
  const bool ok = WriteFile(file, data, static_cast<DWORD>(bytes), &written, nullptr) != 0 && written == bytes &&
                  FlushFileBuffers(file) != 0;
  CloseHandle(file);
  return ok ? path : "";
}
inline void remove_file(const std::string& path) { DeleteFileW(hw::windows_path(path.c_str()).c_str()); }
inline bool truncate_file(const std::string& path, int64_t bytes) {
  HANDLE file = open_to_write(path, OPEN_EXISTING);
  LARGE_INTEGER at;
  at.QuadPart = bytes;
  const bool ok = SetFilePointerEx(file, at, nullptr, FILE_BEGIN) != 0 && SetEndOfFile(file) != 0;
  CloseHandle(file);
  return ok;
}
inline bool write_byte(const std::string& path, int64_t offset, char byte) {
  HANDLE file = open_to_write(path, OPEN_EXISTING);
  LARGE_INTEGER at;
  at.QuadPart = offset;
  DWORD written = 0;
  const bool ok = SetFilePointerEx(file, at, nullptr, FILE_BEGIN) != 0 &&
                  WriteFile(file, &byte, 1, &written, nullptr) != 0 && written == 1;
  CloseHandle(file);
  return ok;
}

inline void sleep_microseconds(int64_t microseconds) { Sleep(static_cast<DWORD>((microseconds + 999) / 1000)); }

// The loader shows a window for a fault unless it is told not to.
inline bool other_faults_end_the_process() {
  wchar_t self[1024];
  GetModuleFileNameW(nullptr, self, 1024);
  std::wstring command = L"\"" + std::wstring(self) + L"\" --fault";
  STARTUPINFOW start = {};
  start.cb = sizeof start;
  PROCESS_INFORMATION process = {};
  if (!CreateProcessW(self, &command[0], nullptr, nullptr, FALSE, 0, nullptr, nullptr, &start, &process)) return false;
  DWORD code = 0;
  const bool ended = WaitForSingleObject(process.hProcess, 30000) == WAIT_OBJECT_0;
  GetExitCodeProcess(process.hProcess, &code);
  CloseHandle(process.hThread);
  CloseHandle(process.hProcess);
  return ended && code == EXCEPTION_ACCESS_VIOLATION;
}

}  // namespace test_system
