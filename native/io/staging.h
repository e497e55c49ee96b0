// Parts of a file that somebody wants in an order he knows ahead, read into places of equal size. Each call says what
// is wanted now and what follows; what follows is read meanwhile, as far as there are places. Parts that follow each
// other in the file as well are one read.
#pragma once
#include <stdint.h>

#include <condition_variable>
#include <mutex>
#include <vector>

#include "../memory.h"
#include "reader.h"

namespace hw {

// Bytes [offset, offset + bytes) of the file; offset is a multiple of kPage. The same key, the same bytes.
struct StagedPart {
  int64_t key;
  int64_t offset, bytes;
};

class Staging : public Feed {
 public:
  // The flag is polled while waiting. It adds itself to the reader, and leaves it when it dies.
  Staging(Reader& reader, DataFile& file, const int32_t* const* cancel_flag);
  ~Staging() override;

  // Places for parts of up to `part_bytes`. False when there is no memory for them.
  bool open(Counters* counters, int64_t places, int64_t part_bytes);
  int64_t places() const { return static_cast<int64_t>(places_.size()); }
  static int64_t place_bytes(int64_t part_bytes) { return page_up(part_bytes); }

  // Waits for the first `now` of `count` parts, at most places(); those behind them follow in their order. out[i] is
  // where part i begins; it stays until the next call. FILE_IO, CANCELLED.
  Status want(const StagedPart* parts, size_t count, size_t now, const uint8_t** out);

  int64_t stall_ns() const { return stall_ns_; }

  bool take(ReadJob* job) override;
  void finished(const ReadJob& job, const IoFailure* failure) override;

 private:
  enum class State : uint8_t { free, reading, ready, failed };
  struct Place {
    State state = State::free;
    StagedPart part = {};
    IoFailure failure;
  };
  // More of one file at a time gains nothing, and what is wanted first would wait for the rest of it.
  static constexpr int64_t kMostAtOnce = int64_t{1} << 20;

  Place* find(int64_t key);
  // The first of at least `most` free places side by side, or of as many as there are; `count` of them.
  size_t free_places(size_t most, size_t* count) const;
  bool is_wanted(int64_t key) const;
  uint8_t* memory_of(size_t place) const {
    const uintptr_t first = (reinterpret_cast<uintptr_t>(memory_.as<uint8_t>()) + kPage - 1) & ~uintptr_t{kPage - 1};
    return reinterpret_cast<uint8_t*>(first) + static_cast<int64_t>(place) * bytes_;
  }

  Reader& reader_;
  DataFile& file_;
  const int32_t* const* cancel_flag_;
  Buffer memory_;
  int64_t bytes_ = 0;  // of a place

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Place> places_;
  std::vector<StagedPart> wanted_;  // at most as many as there are places
  int64_t stall_ns_ = 0;
};

}  // namespace hw
