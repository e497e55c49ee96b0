// What the test programs need of the system beside what they test: pages without access, temporary files, naps.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <string>

namespace test_system {

size_t page_bytes();
// Zeroes, of which the last page cannot be touched. Null when the system refuses. `bytes` is whole pages.
uint8_t* map_guarded(size_t bytes);
void unmap_guarded(uint8_t* data, size_t bytes);

// A new file of these bytes, on the disk. Empty when that fails.
std::string write_temporary(const char* stem, const void* data, size_t bytes);
void remove_file(const std::string& path);
bool truncate_file(const std::string& path, int64_t bytes);
bool write_byte(const std::string& path, int64_t offset, char byte);

void sleep_microseconds(int64_t microseconds);

// A fault that has nothing to do with mapped files still ends the process.
bool other_faults_end_the_process();

}  // namespace test_system

#if defined(_WIN32)
#include "system_windows.h"
#else
#include "system_posix.h"
#endif
