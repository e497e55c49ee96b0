// What a plan has to know of this machine: how fast all threads read memory, and multiply.
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

template <Loop kLoop>
void measure(Pool& pool, const uint8_t* data, int64_t bytes, double* best) {
  double began = now();
  pool.parallel_for((bytes + kPartBytes - 1) / kPartBytes, [&](int64_t part, int) {
    int64_t at = part * kPartBytes;
    uint64_t sum = read_lines<kLoop>(data + at, std::min(kPartBytes, bytes - at));
    __asm__ volatile("" : : "r"(sum));  // the loop must not be left out
  });
  *best = std::max(*best, static_cast<double>(bytes) / (now() - began));
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

std::unique_ptr<Pool> open_pool(int32_t threads) {
  return std::unique_ptr<Pool>(threads < 1 || threads > kMaxThreads ? nullptr : Pool::open(threads, nullptr, 0));
}

}  // namespace

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

// The product of a typical prefill chunk, as prefill runs it: parts of weight rows times all token rows.
Result<double> gemm_rate(int32_t threads, int32_t dtype, double seconds) {
  constexpr int64_t kCols = 2048, kTokens = 256, kPartRows = 64, kRowsPerThread = 256;
  const DtypeInfo* info = dtype_info(dtype);
  if (info == nullptr || kCols % info->block != 0 || !(seconds >= 0) || seconds > 10) {
    return bad_argument("a product rate of tensor type %d", dtype);
  }
  std::unique_ptr<Pool> pool = open_pool(threads);
  if (pool == nullptr) return fail("OPTION_INVALID", "%d threads cannot be started", threads);
  const Kernels& k = kernels();
  const int64_t rows = kRowsPerThread * threads, row_bytes = kCols / info->block * info->bytes;
  Counters counters;
  Buffer weights, x, q, d, sums, out, scratch;
  auto bytes = [](int64_t count, size_t size) { return static_cast<size_t>(count) * size; };
  if (!weights.allocate(&counters, Purpose::weights, bytes(rows, static_cast<size_t>(row_bytes)), true) ||
      !x.allocate(&counters, Purpose::scratch, bytes(kTokens * kCols, sizeof(float))) ||
      !q.allocate(&counters, Purpose::scratch, bytes(kTokens * kCols, 1)) ||
      !d.allocate(&counters, Purpose::scratch, bytes(kTokens * kCols / 32, sizeof(float))) ||
      !sums.allocate(&counters, Purpose::scratch, bytes(kTokens * kCols / 16, sizeof(int16_t))) ||
      !out.allocate(&counters, Purpose::scratch, bytes(kTokens * rows, sizeof(float))) ||
      !scratch.allocate(&counters, Purpose::scratch, bytes(threads, kScratchBytes))) {
    return fail("MEMORY_BUDGET", "no memory for a product to measure");
  }
  // Weights stay zero: integer products take the same time whatever they multiply.
  for (int64_t i = 0; i < kTokens * kCols; i++) x.as<float>()[i] = static_cast<float>((i * 37) % 255) / 127.0f - 1.0f;
  const int64_t d_stride = kCols / (info->acts == ACTS_Q8_256 ? 256 : 32);
  for (int64_t t = 0; t < kTokens && info->acts != ACTS_F32; t++) {
    auto quantize = info->acts == ACTS_Q8_256 ? k.quantize_q8_256 : k.quantize_q8_32;
    quantize(x.as<float>() + t * kCols, q.as<int8_t>() + t * kCols, d.as<float>() + t * d_stride,
             sums.as<int16_t>() + t * (kCols / 16), kCols);
  }
  const Acts acts = {info->acts, kTokens, kCols, x.as<float>(), q.as<int8_t>(), d.as<float>(), sums.as<int16_t>(),
                     kCols, kCols, d_stride, kCols / 16};
  const double operations = 2.0 * static_cast<double>(rows) * kCols * kTokens;
  // On a busy machine a few passes may all be interrupted: some more time is worth it.
  constexpr int kLeastPasses = 8;
  double best = 0, start = now();
  for (int pass = 0;; pass++) {
    double began = now(), gone = began - start;
    if (pass > 0 && gone >= (pass < kLeastPasses ? 5 * seconds : seconds)) break;
    pool->parallel_for(rows / kPartRows, [&](int64_t part, int thread) {
      int64_t row = part * kPartRows;
      k.gemm[dtype](weights.as<uint8_t>() + row * row_bytes, row_bytes, kPartRows, kCols, &acts, nullptr, kTokens,
                    out.as<float>() + row, rows, scratch.as<uint8_t>() + thread * kScratchBytes);
    });
    best = std::max(best, operations / (now() - began));
  }
  return best;
}

}  // namespace hw
