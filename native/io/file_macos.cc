// macOS has no direct reads; a descriptor can be told that what is read through it need not stay in the cache.
// Compiled, never run by its author.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_system.h"

namespace hw {

FileHandle open_file_direct(const char* path) {
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return kNoFile;
  // Read-ahead would fetch what the ring asks for a second time.
  if (fcntl(fd, F_NOCACHE, 1) == 0 && fcntl(fd, F_RDAHEAD, 0) == 0) return fd;
  close(fd);
  return kNoFile;
}

int identify_file(FileHandle handle, FileIdentity* out) {
  struct stat info;
  if (fstat(static_cast<int>(handle), &info) != 0) return errno;
  out->regular = S_ISREG(info.st_mode);
  out->bytes = info.st_size;
  out->seconds = info.st_mtimespec.tv_sec;
  out->nanoseconds = info.st_mtimespec.tv_nsec;
  out->number = info.st_ino;
  out->device = static_cast<uint64_t>(info.st_dev);
  return 0;
}

void stop_readahead(FileHandle handle) { fcntl(static_cast<int>(handle), F_RDAHEAD, 0); }

void forget_cached(FileHandle, int64_t, int64_t) {}

bool fetch_ahead(FileHandle handle, const uint8_t*, int64_t offset, int64_t bytes) {
  radvisory wanted = {};
  wanted.ra_offset = offset;
  wanted.ra_count = static_cast<int>(bytes);  // callers ask for some MiB at a time
  return fcntl(static_cast<int>(handle), F_RDADVISE, &wanted) == 0;
}

}  // namespace hw
