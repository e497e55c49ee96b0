// Files for the tests of io/: every byte tells its place.
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

#include "../io/file.h"
#include "system.h"

namespace io_test {

inline int failures = 0;

inline void check(bool ok, const char* what, long long a = 0) {
  if (ok) return;
  fprintf(stderr, "FAILED: %s (%lld)\n", what, a);
  failures++;
}

inline bool failed_with(hw::Status status, const char* code, const char* word = "") {
  if (!status.ok && strcmp(hw::last_error().code, code) == 0 && strstr(hw::last_error().message, word) != nullptr)
    return true;
  fprintf(stderr, "expected %s (%s), got %s: %s\n", code, word, status.ok ? "success" : hw::last_error().code,
          status.ok ? "" : hw::last_error().message);
  return false;
}

inline uint8_t byte_at(int64_t offset) {
  uint64_t x = static_cast<uint64_t>(offset / 7) * 0x9e3779b97f4a7c15u;
  return static_cast<uint8_t>((x >> 56) + static_cast<uint64_t>(offset));
}

// The first `bytes` of every test file, made once: under a sanitizer each byte that is computed costs a call.
inline const uint8_t* first_bytes(int64_t bytes) {
  static std::vector<uint8_t> content;
  const int64_t made = static_cast<int64_t>(content.size());
  if (made < bytes) content.resize(static_cast<size_t>(bytes));
  for (int64_t i = made; i < bytes; i++) content[static_cast<size_t>(i)] = byte_at(i);
  return content.data();
}

inline bool same(const uint8_t* data, int64_t offset, int64_t bytes) {
  return bytes <= 0 || memcmp(data, first_bytes(offset + bytes) + offset, static_cast<size_t>(bytes)) == 0;
}

struct TestFile {
  std::string path;
  explicit TestFile(int64_t bytes) {
    path = test_system::write_temporary("io", first_bytes(bytes), static_cast<size_t>(bytes));
    check(!path.empty(), "a test file is written");
  }
  ~TestFile() { test_system::remove_file(path); }
};

}  // namespace io_test
