#pragma once
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace test_system {

inline size_t page_bytes() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

inline uint8_t* map_guarded(size_t bytes) {
  void* m = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m == MAP_FAILED) return nullptr;
  const size_t page = page_bytes();
  uint8_t* data = static_cast<uint8_t*>(m);
  return mprotect(data + bytes - page, page, PROT_NONE) == 0 ? data : nullptr;
}
inline void unmap_guarded(uint8_t* data, size_t bytes) { munmap(data, bytes); }

inline std::string write_temporary(const char* stem, const void* data, size_t bytes) {
  const char* folder = getenv("TMPDIR");
  std::string path = std::string(folder != nullptr ? folder : "/tmp") + "/hundredweight-" + stem + "-XXXXXX";
  const int fd = mkstemp(&path[0]);
  if (fd < 0) return "";
  const bool ok = write(fd, data, bytes) == static_cast<ssize_t>(bytes) && fsync(fd) == 0;
  close(fd);
  return ok ? path : "";
}
inline void remove_file(const std::string& path) { unlink(path.c_str()); }
inline bool truncate_file(const std::string& path, int64_t bytes) { return truncate(path.c_str(), bytes) == 0; }
inline bool write_byte(const std::string& path, int64_t offset, char byte) {
  const int fd = open(path.c_str(), O_WRONLY);
  const bool ok = pwrite(fd, &byte, 1, offset) == 1;
  close(fd);
  return ok;
}

inline void sleep_microseconds(int64_t microseconds) {
  timespec t = {static_cast<time_t>(microseconds / 1000000), static_cast<long>(microseconds % 1000000 * 1000)};
  nanosleep(&t, nullptr);
}

inline bool other_faults_end_the_process() {
  pid_t child = fork();
  if (child == 0) {
    const std::string path = write_temporary("fault", "x", 1);
    const int fd = open(path.c_str(), O_RDONLY);
    volatile const uint8_t* p = static_cast<const uint8_t*>(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0));
    if (!truncate_file(path, 0)) _exit(2);
    remove_file(path);
    _exit(p[0]);
  }
  int status = 0;
  waitpid(child, &status, 0);
  // A sanitizer reports the signal and exits with 1.
  return WIFSIGNALED(status) ? WTERMSIG(status) == SIGBUS : WEXITSTATUS(status) == 1 || WEXITSTATUS(status) > 2;
}

}  // namespace test_system
