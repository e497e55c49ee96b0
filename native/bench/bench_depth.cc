// What attention costs decode, as the forward pass calls it: every layer of a pass, threads and KV pool included.
//   bench_depth [THREADS [KIND]]    KIND: 0 f16, 1 q8_0, 2 q4_0; default all
// long:  one sequence over 16,384 positions; 16 layers, 32 query heads over 8 KV heads of 64
// short: 16 sequences over 64 to 264 positions; 30 layers, 9 query heads over 3 KV heads of 64
// Medians and least of the passes, wall time: threads wait for each other. The last figure is a plain read of the same
// pages in turn with them: how fast memory is differs from process to process.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "model.h"
#include "kernels/sample.h"
#include "ops/ops.h"
#include "resources.h"

namespace {

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

template <typename T>
T value(const hw::Result<T>& result) {
  if (!result.ok) {
    fprintf(stderr, "%s\n", hw::last_error().message);
    exit(2);
  }
  return result.value;
}
void check(const hw::Status& status) {
  if (status.ok) return;
  fprintf(stderr, "%s\n", hw::last_error().message);
  exit(2);
}

struct Shape {
  const char* name;
  int32_t layers, heads, kv_heads, dim, sequences, shortest, longest, passes;
};

void read(hw::Model& model, const hw::KvPool& pool) {
  constexpr int64_t kPart = 256 << 10;
  static std::atomic<int64_t> sink;
  model.pool().parallel_for(static_cast<int64_t>(pool.memory.bytes()) / kPart, [&](int64_t part, int) {
    const int64_t* p = reinterpret_cast<const int64_t*>(pool.memory.as<uint8_t>() + part * kPart);
    int64_t sums[4] = {0, 0, 0, 0};
    for (int64_t i = 0; i < kPart / 8; i += 4)
      for (int64_t j = 0; j < 4; j++) sums[j] += p[i + j];
    sink += sums[0] + sums[1] + sums[2] + sums[3];
  });
}

void bench(const Shape& s, int type, int threads) {
  std::unique_ptr<hw::Model> model(value(hw::Model::open(threads, nullptr, 0, 0, &hw::kernels())));
  std::vector<int32_t> layers, ids(static_cast<size_t>(s.sequences)), positions, sequences, table;
  for (int32_t i = 0; i < s.layers; i++) layers.insert(layers.end(), {s.kv_heads, s.dim, s.dim});
  int32_t blocks = (s.longest + hw::kPagePositions - 1) / hw::kPagePositions, pages = 0;
  double keys = 0;
  for (int32_t i = 0; i < s.sequences; i++) {
    int32_t length = s.shortest + (s.longest - s.shortest) * i / std::max(1, s.sequences - 1);
    sequences.push_back(i);
    positions.push_back(length - 1);
    keys += length;
    for (int32_t b = 0; b < blocks; b++) table.push_back(b * hw::kPagePositions < length ? pages++ : -1);
  }
  int32_t rows = std::max(s.sequences, hw::kPagePositions);
  const hw::Slice<const int32_t> shape{layers.data(), static_cast<int64_t>(layers.size())};
  int32_t pool = value(hw::kv_pool(*model, shape, type, type, false, pages, pages, 1));
  int32_t q = value(hw::tensor(*model, rows, s.heads * s.dim)), out = value(hw::tensor(*model, rows, s.heads * s.dim));
  int32_t kv = value(hw::tensor(*model, rows, s.kv_heads * s.dim));
  check(hw::seal(*model));
  hw::SampleRng rng(1);
  std::vector<float> random(static_cast<size_t>(rows) * s.heads * s.dim);
  for (float& x : random) x = rng.uniform();
  check(hw::tensor_write(*model, q, {random.data(), static_cast<int64_t>(random.size())}));
  check(hw::tensor_write(*model, kv, {random.data(), static_cast<int64_t>(rows) * s.kv_heads * s.dim}));

  // One page is computed and copied.
  std::vector<int32_t> all(hw::kPagePositions), zeros(hw::kPagePositions);
  for (int32_t i = 0; i < hw::kPagePositions; i++) all[static_cast<size_t>(i)] = i;
  int32_t one = 1, first = 0;
  hw::SliceList<const int32_t> tables;
  tables.count = 1;
  tables.items[0] = {&first, 1};
  check(hw::ops::begin(*model, hw::kPagePositions, {zeros.data(), hw::kPagePositions}, {all.data(), hw::kPagePositions},
                       {zeros.data(), hw::kPagePositions}, 1, tables, {&one, 1}));
  for (int32_t i = 0; i < s.layers; i++) check(hw::ops::kv_store(*model, pool, i, kv, kv, hw::kPagePositions));
  for (int32_t page = 1; page < pages; page++) check(hw::kv_copy_page(*model, pool, 0, page));

  tables.items[0] = {table.data(), static_cast<int64_t>(table.size())};
  check(hw::ops::begin(*model, s.sequences, {ids.data(), s.sequences}, {positions.data(), s.sequences},
                       {sequences.data(), s.sequences}, s.sequences, tables, {&blocks, 1}));
  std::vector<double> times, reads;
  std::vector<char> other(static_cast<size_t>(64) << 20, 1);
  const hw::KvPool& kv_memory = *value(model->get<hw::KvPool>(pool));
  for (int pass = 0; pass < s.passes; pass++) {
    // As weights do between passes, other memory takes the caches.
    volatile int64_t sum = 0;
    if (s.sequences > 1)
      for (size_t i = 0; i < other.size(); i += 64) sum = sum + other[i]++;
    double t = now();
    for (int32_t i = 0; i < s.layers; i++)
      check(hw::ops::attention(*model, out, q, pool, i, s.sequences, s.heads, 0.125f, 0, 0, 0, 0, 0, 0, 0, 0));
    times.push_back(now() - t);
    t = now();
    read(*model, kv_memory);
    reads.push_back(now() - t);
  }
  std::sort(times.begin(), times.end());
  std::sort(reads.begin(), reads.end());
  double bytes = keys * s.layers * s.kv_heads * (kv_memory.layers[0].row_bytes_k + kv_memory.layers[0].row_bytes_v);
  double operations = keys * s.layers * s.heads * s.dim * 4.0, median = times[times.size() / 2];
  double read_rate = static_cast<double>(kv_memory.page_bytes) * pages / reads[reads.size() / 2] * 1e-9;
  static const char* const names[] = {"f16", "q8_0", "q4_0"};
  printf("%-5s %-4s %d threads: median %6.2f ms, %5.1f GB/s, %4.0f GFLOP/s; least %6.2f ms; plain read %5.1f GB/s\n",
         s.name, names[type], threads, median * 1e3, bytes / median * 1e-9, operations / median * 1e-9, times[0] * 1e3,
         read_rate);
}

}  // namespace

int main(int argc, char** argv) {
  int threads = argc > 1 ? atoi(argv[1]) : 2;
  for (int type = 0; type < hw::KV_TYPES; type++) {
    if (argc > 2 && atoi(argv[2]) != type) continue;
    bench({"long", 16, 32, 8, 64, 1, 16384, 16384, 25}, type, threads);
    bench({"short", 30, 9, 3, 64, 16, 64, 264, 25}, type, threads);
  }
  return 0;
}
