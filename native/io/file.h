// A file weights are read from: two descriptors (direct and buffered) and the identity it had when it was opened.
#pragma once
#include <stdint.h>

#include <atomic>
#include <string>

#include "../error.h"

namespace hw {

enum class IoMode { direct, buffered };

// Direct reads begin and end at multiples of this, in the file and in memory.
constexpr int64_t kPage = 4096;
inline int64_t page_down(int64_t value) { return value & ~(kPage - 1); }
inline int64_t page_up(int64_t value) { return (value + kPage - 1) & ~(kPage - 1); }

// A failure that one thread meets and another reports.
struct IoFailure {
  const char* code = nullptr;  // null: none
  char message[480] = "";
  Status raise() const { return fail(code, "%s", message); }
};

class DataFile {
 public:
  DataFile() = default;
  DataFile(const DataFile&) = delete;
  DataFile& operator=(const DataFile&) = delete;
  ~DataFile();

  // FILE_NOT_FOUND, FILE_IO. Falls back to buffered reads where the file system refuses direct ones.
  Status open(const char* path, IoMode mode);
  // No readahead: bulk reads say what they want, and what comes unasked would stay in the page cache.
  void no_readahead() const;
  // MODEL_CHANGED when size, time of modification or inode differ from what they were at open().
  Status check_unchanged() const;
  // Reads a few rows through the page cache.
  Status read_small(int64_t offset, int64_t bytes, uint8_t* out) const;

  const char* path() const { return path_.c_str(); }
  int64_t bytes() const { return bytes_; }
  int fd() const { return fd_; }
  // The descriptor for bulk reads, -1: buffered.
  int direct_fd() const { return refused_.load(std::memory_order_relaxed) ? -1 : direct_fd_; }
  // Some file systems accept the flag and refuse the reads.
  void refuse_direct() { refused_.store(true, std::memory_order_relaxed); }

  // Why a bulk read that got `got` bytes at `offset` failed; error 0: the file ended.
  void explain(int error, int64_t offset, int64_t wanted, int64_t got, IoFailure* out) const;

 private:
  std::string path_;
  int fd_ = -1, direct_fd_ = -1;
  std::atomic<bool> refused_{false};
  int64_t bytes_ = 0, seconds_ = 0, nanoseconds_ = 0;
  uint64_t inode_ = 0, device_ = 0;
};

}  // namespace hw
