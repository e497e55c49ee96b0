// When each thread of a pool computed, for traces. Nothing is kept, and nothing costs time, until somebody asks.
#pragma once
#include <stdint.h>

#include <atomic>

namespace hw {

// One thread in one region, by monotonic_nanoseconds().
struct ThreadSpan {
  int thread;
  int64_t begin, end;
};

extern std::atomic<bool> keeps_thread_spans;

// Up to `most` spans are kept from now on until they are taken, those behind them are counted; 0: none any more. False
// where memory is refused.
bool keep_thread_spans(int64_t most);
void add_thread_span(const ThreadSpan& span);
// Moves at most `most` spans to `out`, in the order in which they ended. Returns how many; `*dropped`: those that came
// when no place was left, since the last time.
int64_t take_thread_spans(ThreadSpan* out, int64_t most, int64_t* dropped);

}  // namespace hw
