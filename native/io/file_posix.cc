#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file_system.h"

namespace hw {

FileHandle open_file(const char* path, int* error) {
  // O_NONBLOCK: opening a named pipe must not wait for a writer; its identity gives it away. Without effect on files.
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  *error = fd < 0 ? errno : 0;
  return fd;
}

void close_file(FileHandle handle) { close(static_cast<int>(handle)); }

int64_t read_file_at(FileHandle handle, int64_t offset, int64_t bytes, uint8_t* out) {
  const ssize_t got = pread(static_cast<int>(handle), out, static_cast<size_t>(bytes), offset);
  return got < 0 ? -errno : got;
}

bool is_missing(int error) { return error == ENOENT || error == ENOTDIR; }
bool is_interrupted(int error) { return error == EINTR || error == EAGAIN; }
bool is_refusal(int error) { return error == EINVAL; }
void describe_file_error(int error, char* out, size_t bytes) { snprintf(out, bytes, "%s", strerror(error)); }

}  // namespace hw
