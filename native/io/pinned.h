// Memory for weights that stay: anonymous, aligned to huge pages and advised to use them, locked where the system allows.
#pragma once
#include <stdint.h>

#include "reader.h"

namespace hw {

class PinnedMemory {
 public:
  PinnedMemory() = default;
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;
  ~PinnedMemory();

  // False when the system has not that much. Zero bytes are fine.
  bool allocate(int64_t bytes);
  // Touches all of it. False, and nothing is lost, when the limit for locked memory is lower.
  bool lock();

  // What lies behind the first `kept` bytes goes back to the system; it must not be used again.
  void give_back(int64_t kept);

  uint8_t* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  bool locked() const { return locked_; }

 private:
  uint8_t* data_ = nullptr;
  int64_t bytes_ = 0;
  bool locked_ = false;
};

// At least one byte of a file and where it goes: `memory` is aligned to kPage and gets the page that holds `offset` first.
struct Fill {
  DataFile* file;
  int64_t offset, bytes;
  uint8_t* memory;
};

// Reads all of it, many requests in flight. CANCELLED within 50 ms when the flag rises; FILE_IO, MODEL_CHANGED.
Status fill_memory(Reader& reader, const Fill* fills, size_t count, const int32_t* cancel_flag,
                   int64_t request_bytes = 4 << 20);

}  // namespace hw
