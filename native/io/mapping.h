// A whole file mapped read-only: weights that lie in the page cache, shared with every process that maps the same file.
// A file that shrinks under its mapping raises SIGBUS where its pages are gone (Windows: a file whose drive goes away
// raises an exception): zeroes are put there, and faulted() tells.
#pragma once
#include <stdint.h>

#include <atomic>

#include "../system/thread.h"
#include "file.h"

namespace hw {

class Mapping {
 public:
  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  // FILE_IO. An empty file maps to zero bytes.
  Status open(const DataFile& file);
  const uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  // Some page could not be read since it was mapped: what was computed from it is worthless.
  bool faulted() const;

 private:
  const uint8_t* data_ = nullptr;
  int64_t bytes_ = 0;
  int guard_ = -1;  // place in the handler's table
  // Reading ahead of the first touch.
  static void fetch(void* self);
  FileHandle handle_ = kNoFile;
  int64_t fetched_ = 0;
  SystemThread fetcher_;
  bool fetching_ = false;
  std::atomic<bool> stop_{false};
};

}  // namespace hw
