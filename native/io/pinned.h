// Memory for weights that stay: anonymous, aligned to huge pages and advised to use them, locked where the system
// allows.
#pragma once
#include <stdint.h>

#include "../memory.h"
#include "reader.h"

namespace hw {

class PinnedMemory {
 public:
  PinnedMemory() = default;
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;
  ~PinnedMemory();

  // Whom `allocate` charges. Nobody: tests and tools.
  void charge_to(Counters* counters) { counters_ = counters; }
  // False when the system has not that much, or the model was not promised it. Zero bytes are fine.
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
  Counters* counters_ = nullptr;
};

// At least one byte of a file and where it goes: `memory` is aligned to kPage and gets the page that holds `offset`
// first.
struct Fill {
  DataFile* file;
  int64_t offset, bytes;
  uint8_t* memory;
};

constexpr int64_t kFillRequest = 4 << 20;

// Reads all of it, many requests in flight. CANCELLED within 50 ms when the flag rises; FILE_IO, MODEL_CHANGED.
// The bytes are added to `account`.
Status fill_memory(Reader& reader, const Fill* fills, size_t count, const int32_t* cancel_flag,
                   int64_t request_bytes = kFillRequest, std::atomic<int64_t>* account = nullptr);

}  // namespace hw
