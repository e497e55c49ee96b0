#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "file_system.h"

namespace hw {

FileHandle open_file_direct(const char* path) { return ::open(path, O_RDONLY | O_CLOEXEC | O_DIRECT); }

int identify_file(FileHandle handle, FileIdentity* out) {
  struct stat info;
  if (fstat(static_cast<int>(handle), &info) != 0) return errno;
  out->regular = S_ISREG(info.st_mode);
  out->bytes = info.st_size;
  out->seconds = info.st_mtim.tv_sec;
  out->nanoseconds = info.st_mtim.tv_nsec;
  out->number = info.st_ino;
  out->device = info.st_dev;
  return 0;
}

void stop_readahead(FileHandle handle) { posix_fadvise(static_cast<int>(handle), 0, 0, POSIX_FADV_RANDOM); }

void forget_cached(FileHandle handle, int64_t offset, int64_t bytes) {
  posix_fadvise(static_cast<int>(handle), offset, bytes, POSIX_FADV_DONTNEED);
}

bool fetch_ahead(FileHandle, const uint8_t*, int64_t, int64_t) { return false; }

}  // namespace hw
