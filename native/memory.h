// Every byte the addon allocates, counted by purpose and charged to one account of the process. Memory is zeroed,
// 64-byte aligned and, when large, touched lazily.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <atomic>

namespace hw {

enum class Purpose : int { activations, kv, scratch, weights, count };

// What all models of the process hold and were promised. Reserved memory is charged, whether it was touched or not.
struct Account {
  static Account& of_process();
  std::atomic<int64_t> promised{0}, charged{0}, peak{0};
};

// Those of one model; used by its thread only.
class Counters {
 public:
  Counters() = default;
  Counters(const Counters&) = delete;
  Counters& operator=(const Counters&) = delete;
  // Everything charged has been given back.
  ~Counters() { promise(0, 0); }

  int64_t bytes[static_cast<int>(Purpose::count)] = {};
  int64_t allocations = 0;

  // The model will hold at most so many bytes, in place of what it said before. False, and nothing is changed, when all
  // promises of the process would come to more than the limit; 0: no limit.
  bool promise(int64_t bytes, int64_t limit);
  // False when it was promised less.
  bool charge(int64_t bytes);
  void refund(int64_t bytes);
  int64_t charged() const { return charged_; }

 private:
  int64_t charged_ = 0;
  int64_t promised_ = 0;  // 0: nothing was said
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
