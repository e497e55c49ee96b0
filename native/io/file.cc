#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

namespace hw {

namespace {

#if defined(__APPLE__)
int64_t seconds_of(const struct stat& s) { return s.st_mtimespec.tv_sec; }
int64_t nanoseconds_of(const struct stat& s) { return s.st_mtimespec.tv_nsec; }
#else
int64_t seconds_of(const struct stat& s) { return s.st_mtim.tv_sec; }
int64_t nanoseconds_of(const struct stat& s) { return s.st_mtim.tv_nsec; }
#endif

int open_direct(const char* path) {
#if defined(__linux__)
  return ::open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
#elif defined(__APPLE__)
  int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd >= 0 && fcntl(fd, F_NOCACHE, 1) == 0) return fd;
  if (fd >= 0) close(fd);
  return -1;
#else
  (void)path;
  return -1;
#endif
}

}  // namespace

DataFile::~DataFile() {
  if (fd_ >= 0) close(fd_);
  if (direct_fd_ >= 0) close(direct_fd_);
}

Status DataFile::open(const char* path, IoMode mode) {
  path_ = path;
  // O_NONBLOCK: opening a named pipe must not wait for a writer; it is refused below. Without effect on files.
  fd_ = ::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) {
    int error = errno;
    const char* code = error == ENOENT || error == ENOTDIR ? "FILE_NOT_FOUND" : "FILE_IO";
    return fail(code, "cannot open %.300s: %s", path, strerror(error));
  }
  struct stat info;
  if (fstat(fd_, &info) != 0 || !S_ISREG(info.st_mode)) return fail("FILE_IO", "%.300s is not a regular file", path);
  bytes_ = info.st_size;
  seconds_ = seconds_of(info);
  nanoseconds_ = nanoseconds_of(info);
  inode_ = info.st_ino;
  device_ = info.st_dev;
  if (mode == IoMode::direct) {
    direct_fd_ = open_direct(path);
    struct stat other;
    // Between the two opens another file may have taken the name.
    if (direct_fd_ >= 0 &&
        (fstat(direct_fd_, &other) != 0 || other.st_ino != info.st_ino || other.st_dev != info.st_dev)) {
      return fail("MODEL_CHANGED", "%.300s was replaced while it was opened", path);
    }
  }
  return done();
}

void DataFile::no_readahead() const {
#if defined(POSIX_FADV_RANDOM)
  posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM);
#endif
}

Status DataFile::check_unchanged() const {
  struct stat info;
  if (fstat(fd_, &info) != 0) return fail("FILE_IO", "cannot look at %.300s: %s", path(), strerror(errno));
  if (info.st_size != bytes_) {
    return fail("MODEL_CHANGED", "%.300s had %lld bytes when it was opened and has %lld now; load the model again",
                path(), static_cast<long long>(bytes_), static_cast<long long>(info.st_size));
  }
  if (seconds_of(info) != seconds_ || nanoseconds_of(info) != nanoseconds_ || info.st_ino != inode_ ||
      info.st_dev != device_) {
    return fail("MODEL_CHANGED", "%.300s was written to while it was in use; load the model again", path());
  }
  return done();
}

Status DataFile::read_small(int64_t offset, int64_t bytes, uint8_t* out) const {
  int64_t got = 0;
  while (got < bytes) {
    ssize_t n = pread(fd_, out + got, static_cast<size_t>(bytes - got), offset + got);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      IoFailure failure;
      explain(n < 0 ? errno : 0, offset, bytes, got, &failure);
      return failure.raise();
    }
    got += n;
  }
  return done();
}

void DataFile::explain(int error, int64_t offset, int64_t wanted, int64_t got, IoFailure* out) const {
  // The calling thread's own error slot is used in passing.
  if (!check_unchanged().ok) {
    out->code = last_error().code;
    snprintf(out->message, sizeof out->message, "%.470s", last_error().message);
    return;
  }
  out->code = "FILE_IO";
  if (error == 0) {
    snprintf(out->message, sizeof out->message, "%.300s: read %lld of %lld bytes at offset %lld", path(),
             static_cast<long long>(got), static_cast<long long>(wanted), static_cast<long long>(offset));
  } else {
    snprintf(out->message, sizeof out->message, "%.300s: reading %lld bytes at offset %lld failed: %s", path(),
             static_cast<long long>(wanted), static_cast<long long>(offset), strerror(error));
  }
}

}  // namespace hw
