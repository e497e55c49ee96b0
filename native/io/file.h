// A file weights are read from: two handles (direct and buffered) and the identity it had when it was opened.
#pragma once
#include <stdint.h>

#include <atomic>
#include <string>

#include "../error.h"
#include "file_system.h"

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
  // MODEL_CHANGED when size, time of modification or identity differ from what they were at open().
  Status check_unchanged() const;
  // Reads a few rows through the page cache.
  Status read_small(int64_t offset, int64_t bytes, uint8_t* out) const;

  const char* path() const { return path_.c_str(); }
  int64_t bytes() const { return bytes_; }
  FileHandle handle() const { return handle_; }
  // The one for bulk reads; kNoFile: buffered.
  FileHandle direct_handle() const { return refused_.load(std::memory_order_relaxed) ? kNoFile : direct_; }
  // Some file systems accept the flag and refuse the reads.
  void refuse_direct() { refused_.store(true, std::memory_order_relaxed); }

  // Why a bulk read that got `got` bytes at `offset` failed; error 0: the file ended, else the system's number.
  void explain(int error, int64_t offset, int64_t wanted, int64_t got, IoFailure* out) const;

 private:
  std::string path_;
  FileHandle handle_ = kNoFile, direct_ = kNoFile;
  std::atomic<bool> refused_{false};
  FileIdentity opened_;
  int64_t bytes_ = 0;
};

}  // namespace hw
