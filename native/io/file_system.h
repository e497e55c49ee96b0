// What files need from the system. file_posix.cc (with file_linux.cc or file_macos.cc for what those two do
// differently) and file_windows.cc.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace hw {

typedef intptr_t FileHandle;  // a descriptor, or a HANDLE of Windows
constexpr FileHandle kNoFile = -1;

struct FileIdentity {
  bool regular = false;
  int64_t bytes = 0;
  int64_t seconds = 0, nanoseconds = 0;  // of the last modification
  uint64_t number = 0, device = 0;
  bool same_file(const FileIdentity& other) const { return number == other.number && device == other.device; }
  bool same_time(const FileIdentity& other) const {
    return seconds == other.seconds && nanoseconds == other.nanoseconds;
  }
};

// For reading, path in UTF-8. kNoFile and the system's error number when that fails.
FileHandle open_file(const char* path, int* error);
// Past the page cache; kNoFile where the file system has no such reads.
FileHandle open_file_direct(const char* path);
void close_file(FileHandle handle);
// 0, or the system's error number.
int identify_file(FileHandle handle, FileIdentity* out);
// How many bytes it got, 0 at the end, or minus the system's error number.
int64_t read_file_at(FileHandle handle, int64_t offset, int64_t bytes, uint8_t* out);

// No readahead: what comes unasked would stay in the page cache. Linux only.
void stop_readahead(FileHandle handle);
// What was read may leave the page cache. Linux only.
void forget_cached(FileHandle handle, int64_t offset, int64_t bytes);
// Brings bytes of a mapped file into memory before they are touched. False where the system does so on its own, or has
// no room for more.
bool fetch_ahead(FileHandle handle, const uint8_t* mapped, int64_t offset, int64_t bytes);

// What an error number means: no such file; nothing was read and a second try may succeed; the file system has no
// direct reads after all.
bool is_missing(int error);
bool is_interrupted(int error);
bool is_refusal(int error);
void describe_file_error(int error, char* out, size_t bytes);

}  // namespace hw
