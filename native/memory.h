// Every byte the addon allocates, counted by purpose. Memory is zeroed, 64-byte aligned and, when large, touched lazily.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace hw {

enum class Purpose : int { activations, kv, scratch, weights, count };

struct Counters {
  int64_t bytes[static_cast<int>(Purpose::count)] = {};
  int64_t allocations = 0;
};

class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { reset(); }

  // Replaces the contents by `bytes` zeroes. False when the system has no memory (the buffer is empty then).
  bool allocate(Counters* counters, Purpose purpose, size_t bytes, bool huge_pages = false);
  // Makes room for at least `bytes`; contents are lost when it has to grow.
  bool reserve(Counters* counters, Purpose purpose, size_t bytes) {
    return bytes <= bytes_ || allocate(counters, purpose, bytes);
  }
  void reset();

  size_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
  bool mapped_ = false;
  Counters* counters_ = nullptr;
  Purpose purpose_ = Purpose::scratch;
};

}  // namespace hw
