// How fast all threads compute what a prompt is made of: products of each type, attention, gates. Counted is the
// processor time of the threads that compute: what others take of the machine meanwhile makes no figure worse.
#include <string.h>

#include <algorithm>
#include <cfloat>

#include "../kernels/kv_page.h"
#include "../system/thread.h"
#include "../threads/pool.h"
#include "addon.h"

namespace hw {

namespace {

constexpr double kMostSeconds = 10;
constexpr int kPartsPerThread = 4;
// The first pass meets cold caches, and any may be interrupted.
constexpr int kLeastPasses = 3;

// Units of work a second of all threads of the pool, `work` units a part: body(part, thread). The best part of each
// thread counts: cores may differ, and others spoil the caches of those that were interrupted.
template <class Body>
Result<double> rate_of(Pool& pool, double seconds, double work, const Body& body) {
  const int64_t parts = int64_t{kPartsPerThread} * pool.threads();
  double best[kMaxThreads];
  std::fill(best, best + kMaxThreads, DBL_MAX);
  const int64_t start = monotonic_nanoseconds();
  for (int pass = 0; pass < kLeastPasses || 1e-9 * static_cast<double>(monotonic_nanoseconds() - start) < seconds;
       pass++) {
    pool.parallel_for(parts, [&](int64_t part, int thread) {
      const int64_t began = thread_nanoseconds();
      body(part, thread);
      best[thread] = std::min(best[thread], static_cast<double>(std::max<int64_t>(1, thread_nanoseconds() - began)));
    });
  }
  double sum = 0;
  int ran = 0;
  for (int thread = 0; thread < pool.threads(); thread++) {
    if (best[thread] == DBL_MAX) continue;  // others were there first every time
    sum += work / (1e-9 * best[thread]);
    ran++;
  }
  return sum / ran * pool.threads();
}

bool fits(double seconds) { return seconds >= 0 && seconds <= kMostSeconds; }

Status no_threads(int32_t threads) { return fail("OPTION_INVALID", "%d threads cannot be started", threads); }

}  // namespace

// The product of a prefill chunk of `tokens` rows, as prefill runs it: parts of weight rows times all token rows.
Result<double> gemm_rate(int32_t threads, int32_t dtype, int32_t tokens, double seconds) {
  constexpr int64_t kCols = 2048, kPartRows = 64, kMostTokens = 512;
  const DtypeInfo* info = dtype_info(dtype);
  if (info == nullptr || kCols % info->block != 0 || tokens < 1 || tokens > kMostTokens || !fits(seconds)) {
    return bad_argument("a product rate of tensor type %d, %d rows", dtype, tokens);
  }
  std::unique_ptr<Pool> pool = open_pool(threads);
  if (pool == nullptr) return no_threads(threads);
  const Kernels& k = kernels();
  const int64_t rows = kPartRows * kPartsPerThread * threads, row_bytes = kCols / info->block * info->bytes;
  Counters counters;
  Buffer weights, x, q, d, sums, out, scratch;
  auto bytes = [](int64_t count, size_t size) { return static_cast<size_t>(count) * size; };
  if (!weights.allocate(&counters, Purpose::weights, bytes(rows, static_cast<size_t>(row_bytes)), true) ||
      !x.allocate(&counters, Purpose::scratch, bytes(tokens * kCols, sizeof(float))) ||
      !q.allocate(&counters, Purpose::scratch, bytes(tokens * kCols, 1)) ||
      !d.allocate(&counters, Purpose::scratch, bytes(tokens * kCols / 32, sizeof(float))) ||
      !sums.allocate(&counters, Purpose::scratch, bytes(tokens * kCols / 16, sizeof(int16_t))) ||
      !out.allocate(&counters, Purpose::scratch, bytes(tokens * rows, sizeof(float))) ||
      !scratch.allocate(&counters, Purpose::scratch, bytes(threads, kScratchBytes))) {
    return fail("MEMORY_BUDGET", "no memory for a product to measure");
  }
  // Any values will do but those whose scales are no normal numbers: as all of MXFP4 would be of zeroes.
  memset(weights.as<uint8_t>(), 0x40, static_cast<size_t>(rows * row_bytes));
  for (int64_t i = 0; i < tokens * kCols; i++) x.as<float>()[i] = static_cast<float>((i * 37) % 255) / 127.0f - 1.0f;
  const int64_t d_stride = kCols / (info->acts == ACTS_Q8_256 ? 256 : 32);
  for (int64_t t = 0; t < tokens && info->acts != ACTS_F32; t++) {
    auto quantize = info->acts == ACTS_Q8_256 ? k.quantize_q8_256 : k.quantize_q8_32;
    quantize(x.as<float>() + t * kCols, q.as<int8_t>() + t * kCols, d.as<float>() + t * d_stride,
             sums.as<int16_t>() + t * (kCols / 16), kCols);
  }
  const Acts acts = {info->acts, tokens, kCols, x.as<float>(), q.as<int8_t>(), d.as<float>(), sums.as<int16_t>(),
                     kCols, kCols, d_stride, kCols / 16};
  const MatmulFn product = tokens < k.gemm_min_rows[dtype] ? k.matvec[dtype] : k.gemm[dtype];
  return rate_of(*pool, seconds, 2.0 * kPartRows * kCols * tokens, [&](int64_t part, int thread) {
    const int64_t row = part * kPartRows;
    product(weights.as<uint8_t>() + row * row_bytes, row_bytes, kPartRows, kCols, &acts, nullptr, tokens,
            out.as<float>() + row, rows, scratch.as<uint8_t>() + thread * kScratchBytes);
  });
}

// Attention of a prompt's rows over F16 pages that lie in the second-level cache: operations of q.k and p.v.
Result<double> attention_rate(int32_t threads, double seconds) {
  constexpr int32_t kRows = 16, kHeads = 4, kDim = 64;
  constexpr int64_t kPages = 4;
  if (!fits(seconds)) return bad_argument("an attention rate of %g s", seconds);
  std::unique_ptr<Pool> pool = open_pool(threads);
  if (pool == nullptr) return no_threads(threads);
  const Kernels& k = kernels();
  const int64_t page = kv_head_bytes(KV_F16, kDim), queries = int64_t{kRows} * kHeads;
  // Of a thread: keys and values of its pages, queries, largest scores, sums, values, and the kernel's own.
  const int64_t floats = queries * (2 * kDim + 2), own = page_up(2 * page * kPages + 4 * floats + kScratchBytes);
  Counters counters;
  Buffer memory;
  if (!memory.allocate(&counters, Purpose::scratch, static_cast<size_t>(own * threads), true)) {
    return fail("MEMORY_BUDGET", "no memory for attention to measure");
  }
  const AttnPiece piece = {kDim, kDim, 0.1f, 0.0f};
  int32_t k0[kRows], k1[kRows];
  std::fill(k0, k0 + kRows, 0);
  std::fill(k1, k1 + kRows, static_cast<int32_t>(kPagePositions));
  const double work = 4.0 * static_cast<double>(queries) * kDim * kPagePositions * kPages;
  return rate_of(*pool, seconds, work, [&](int64_t, int thread) {
    uint8_t* const scratch = memory.as<uint8_t>() + thread * own;
    uint8_t* const pages = scratch + kScratchBytes;
    float* const q = reinterpret_cast<float*>(pages + 2 * page * kPages);
    float *const o = q + queries * kDim, *const m = o + queries * kDim, *const l = m + queries;
    const int32_t cols = kHeads * kDim;
    const Acts acts = {ACTS_F32, kRows, cols, q, nullptr, nullptr, nullptr, cols, 0, 0, 0};
    for (int64_t i = 0; i < kPages; i++) {
      k.attn_piece[KV_F16][KV_F16](&piece, &acts, kRows, kHeads, pages + 2 * i * page, pages + (2 * i + 1) * page, k0,
                                   k1, nullptr, m, l, o, scratch);
    }
  });
}

// Gates act(g) * u of rows that lie in the first-level cache: values a second.
Result<double> gate_rate(int32_t threads, double seconds) {
  constexpr int64_t kValues = 2048, kTimes = 16;
  if (!fits(seconds)) return bad_argument("a rate of gates of %g s", seconds);
  std::unique_ptr<Pool> pool = open_pool(threads);
  if (pool == nullptr) return no_threads(threads);
  const Kernels& k = kernels();
  Counters counters;
  Buffer memory;
  if (!memory.allocate(&counters, Purpose::scratch, static_cast<size_t>(threads * 3 * kValues) * sizeof(float))) {
    return fail("MEMORY_BUDGET", "no memory for gates to measure");
  }
  for (int64_t i = 0; i < threads * 3 * kValues; i++) {
    memory.as<float>()[i] = static_cast<float>((i * 37) % 255) / 64.0f - 2.0f;
  }
  return rate_of(*pool, seconds, static_cast<double>(kValues * kTimes), [&](int64_t, int thread) {
    float* const gate = memory.as<float>() + thread * 3 * kValues;
    for (int64_t i = 0; i < kTimes; i++) k.glu[0](gate, gate + kValues, gate + 2 * kValues, kValues);
  });
}

}  // namespace hw
