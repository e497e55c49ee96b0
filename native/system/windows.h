// The Windows API as the files named *_windows.cc use it: Windows 10 is the oldest that Node runs on.
#pragma once
#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00
#endif
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <stdint.h>
#include <windows.h>

#include <string>

namespace hw {

// A function that a system may lack, null then.
template <typename Function>
Function function_of(const wchar_t* library, const char* name) {
  HMODULE module = GetModuleHandleW(library);
  if (module == nullptr) return nullptr;
  return reinterpret_cast<Function>(reinterpret_cast<void*>(GetProcAddress(module, name)));
}

// What the system says of an error, without a full stop or a line's end, and its number.
std::string describe_windows_error(DWORD error);

// A path for the API: UTF-16, whole, with the prefix that lifts the limit of 260 characters. Empty: not UTF-8.
std::wstring windows_path(const char* path);

}  // namespace hw
