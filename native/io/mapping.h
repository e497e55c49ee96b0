// A whole file mapped read-only: weights that lie in the page cache, shared with every process that maps the same file.
#pragma once
#include <stdint.h>

#include "../error.h"

namespace hw {

class Mapping {
 public:
  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping();

  // FILE_NOT_FOUND, FILE_IO. An empty file maps to zero bytes.
  Status open(const char* path);
  const uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  const uint8_t* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace hw
