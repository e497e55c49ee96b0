#include "mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hw {

Status Mapping::open(const char* path) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer; it is refused below. Without effect on files.
  int fd = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) {
    int error = errno;
    const char* code = error == ENOENT || error == ENOTDIR ? "FILE_NOT_FOUND" : "FILE_IO";
    return fail(code, "cannot open %.300s: %s", path, strerror(error));
  }
  struct stat info;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
    close(fd);
    return fail("FILE_IO", "%.300s is not a regular file", path);
  }
  if (info.st_size > 0) {
    void* p = mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
      int error = errno;
      close(fd);
      return fail("FILE_IO", "cannot map %.300s: %s", path, strerror(error));
    }
    data_ = static_cast<const uint8_t*>(p);
  }
  bytes_ = info.st_size;
  close(fd);
  return done();
}

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(const_cast<uint8_t*>(data_), static_cast<size_t>(bytes_));
}

}  // namespace hw
