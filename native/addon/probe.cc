// What a plan has to know of this machine's memory: how fast all threads read it. Arithmetic: compute_rates.cc.
#include <string.h>

#include <algorithm>
#include <memory>

#include "../io/pinned.h"
#include "../system/pages.h"
#include "../system/thread.h"
#include "../threads/pool.h"
#include "addon.h"

namespace hw {

namespace {

constexpr int64_t kLeastBytes = int64_t{1} << 20, kMostBytes = int64_t{64} << 30;
// A part is one run of consecutive bytes: long enough for the prefetcher, short enough to even out a late thread.
constexpr int64_t kPartBytes = int64_t{4} << 20;
// Others use the machine too: the best of a few passes is what it can do.
constexpr int kPasses = 3;
// Time is looked at this often while memory is touched for the first time, which in a virtual machine whose host finds
// the memory only then takes ten times as long as reading it.
constexpr int64_t kStepBytes = int64_t{128} << 20;
// Less could lie in a large last-level cache (a probe that got no further once found twice the rate of the memory).
constexpr int64_t kLeastTouched = int64_t{512} << 20;
// How far ahead of the read position, in bytes; past the end nothing is prefetched that faults.
constexpr int64_t kAhead = 2048;

typedef uint64_t Lane __attribute__((vector_size(16)));

double now() { return 1e-9 * static_cast<double>(monotonic_nanoseconds()); }

enum class Loop { plain, prefetch, prefetch_once };

// One stream of 64-byte lines in order, as the matrix-vector kernels read a row.
template <Loop kLoop>
uint64_t read_lines(const uint8_t* data, int64_t bytes) {
  Lane a = {0, 0}, b = a, c = a, d = a;
  for (int64_t at = 0; at + 64 <= bytes; at += 64) {
    const Lane* line = reinterpret_cast<const Lane*>(data + at);
    if (kLoop == Loop::prefetch) __builtin_prefetch(data + at + kAhead, 0, 3);
    if (kLoop == Loop::prefetch_once) __builtin_prefetch(data + at + kAhead, 0, 0);
    a ^= line[0];
    b ^= line[1];
    c ^= line[2];
    d ^= line[3];
  }
  a ^= b ^ c ^ d;
  return a[0] ^ a[1];
}

// By processor time: what others take of the machine meanwhile is not counted.
template <Loop kLoop>
void measure(Pool& pool, const uint8_t* data, int64_t bytes, double* best) {
  struct alignas(64) Read {
    int64_t bytes = 0, nanoseconds = 0;
  };
  Read reads[kMaxThreads];
  pool.parallel_for((bytes + kPartBytes - 1) / kPartBytes, [&](int64_t part, int thread) {
    const int64_t began = thread_nanoseconds();
    int64_t at = part * kPartBytes, length = std::min(kPartBytes, bytes - at);
    uint64_t sum = read_lines<kLoop>(data + at, length);
    __asm__ volatile("" : : "r"(sum));  // the loop must not be left out
    reads[thread].nanoseconds += thread_nanoseconds() - began;
    reads[thread].bytes += length;
  });
  double rate = 0;
  int ran = 0;
  for (const Read& read : reads) {
    if (read.nanoseconds <= 0) continue;
    rate += 1e9 * static_cast<double>(read.bytes) / static_cast<double>(read.nanoseconds);
    ran++;
  }
  *best = std::max(*best, rate / std::max(1, ran) * pool.threads());
}

// Rates of the three loops, over memory of huge or of ordinary pages. Touches `bytes`, or what `seconds` allow.
Status rates_of(Pool& pool, int64_t bytes, bool huge_pages, double seconds, double* rates, double* touched) {
  PinnedMemory memory;
  if (!memory.allocate(bytes)) {
    return fail("MEMORY_BUDGET", "no %lld bytes of memory to measure with", static_cast<long long>(bytes));
  }
  if (!huge_pages) advise_small_pages(memory.data(), static_cast<size_t>(memory.bytes()));
  // Untouched pages would all be one page of zeroes.
  double began = now();
  int64_t there = 0;
  while (there < bytes && (there < kLeastTouched || now() - began < seconds / 2)) {
    int64_t step = std::min(kStepBytes, bytes - there);
    pool.parallel_for((step + kPartBytes - 1) / kPartBytes, [&](int64_t part, int) {
      int64_t end = there + std::min(step, (part + 1) * kPartBytes);
      for (int64_t at = there + part * kPartBytes; at < end; at += kPage) memory.data()[at] = 1;
    });
    there += step;
  }
  for (int pass = 0; pass < kPasses && (pass == 0 || now() - began < seconds); pass++) {
    measure<Loop::plain>(pool, memory.data(), there, &rates[0]);
    measure<Loop::prefetch>(pool, memory.data(), there, &rates[1]);
    measure<Loop::prefetch_once>(pool, memory.data(), there, &rates[2]);
  }
  *touched = static_cast<double>(there);
  return done();
}

}  // namespace

std::unique_ptr<Pool> open_pool(int32_t threads) {
  return std::unique_ptr<Pool>(threads < 1 || threads > kMaxThreads ? nullptr : Pool::open(threads, nullptr, 0));
}

Status memory_rate(int32_t threads, int64_t bytes, double seconds, Slice<double> out) {
  if (bytes < kLeastBytes || bytes > kMostBytes || !(seconds >= 0) || seconds > 60 || out.length != MEMORY_RATES) {
    return bad_argument("a memory rate over %lld bytes in %g s", static_cast<long long>(bytes), seconds);
  }
  std::unique_ptr<Pool> pool = open_pool(threads);
  if (pool == nullptr) return fail("OPTION_INVALID", "%d threads cannot be started", threads);
  std::fill(out.data, out.data + out.length, 0.0);
  bytes = page_up(bytes);
  HW_TRY(rates_of(*pool, bytes, true, seconds * 3 / 4, out.data + MEMORY_HUGE_PLAIN, out.data + MEMORY_HUGE_BYTES));
  // Faulting ordinary pages takes longer than reading them: a quarter tells as much.
  bytes = page_up(std::max(kLeastBytes, bytes / 4));
  return rates_of(*pool, bytes, false, seconds / 4, out.data + MEMORY_SMALL_PLAIN, out.data + MEMORY_SMALL_BYTES);
}

}  // namespace hw
