#include <stdio.h>

#include "windows.h"

namespace hw {

std::string describe_windows_error(DWORD error) {
  wchar_t wide[256];
  // English where it is there: messages of this program are English.
  DWORD length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, nullptr, error,
                                MAKELANGID(LANG_ENGLISH, SUBLANG_ENGLISH_US), wide, 256, nullptr);
  if (length == 0) {
    length = FormatMessageW(FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS, nullptr, error, 0, wide, 256,
                            nullptr);
  }
  while (length > 0 && (wide[length - 1] <= L' ' || wide[length - 1] == L'.')) length--;
  char text[800] = "";
  int bytes = WideCharToMultiByte(CP_UTF8, 0, wide, static_cast<int>(length), text, sizeof text - 1, nullptr, nullptr);
  char number[48];
  snprintf(number, sizeof number, "%sWindows error %lu", bytes > 0 ? ", " : "", static_cast<unsigned long>(error));
  return std::string(text, static_cast<size_t>(bytes)) + number;
}

std::wstring windows_path(const char* path) {
  const int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, -1, nullptr, 0);
  if (length <= 1) return std::wstring();
  std::wstring given(static_cast<size_t>(length), L'\0');
  MultiByteToWideChar(CP_UTF8, 0, path, -1, &given[0], length);
  given.resize(static_cast<size_t>(length) - 1);
  // Below the prefix nothing is resolved: neither "..", nor "/", nor the current folder.
  if (given.compare(0, 4, L"\\\\?\\") == 0 || given.compare(0, 4, L"\\\\.\\") == 0) return given;
  DWORD room = GetFullPathNameW(given.c_str(), 0, nullptr, nullptr);
  if (room == 0) return given;
  std::wstring whole(room, L'\0');
  DWORD got = GetFullPathNameW(given.c_str(), room, &whole[0], nullptr);
  if (got == 0 || got >= room) return given;
  whole.resize(got);
  if (whole.compare(0, 4, L"\\\\.\\") == 0) return whole;  // a device such as NUL
  if (whole.compare(0, 2, L"\\\\") == 0) return L"\\\\?\\UNC\\" + whole.substr(2);
  return L"\\\\?\\" + whole;
}

}  // namespace hw
