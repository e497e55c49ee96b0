// How fast one core attends.
//   bench_attention [ISA ...]      default: every ISA this CPU runs, best last
// decode:  one token row, a GQA group of heads, the pages of a long cache one after the other;
//          GB/s of KV bytes. The cache (many KV heads, 128 MiB) does not fit the processor's caches.
// prefill: 8 or 16 token rows, the pages stay in L2/L3; GFLOP/s counting 2 per multiply-add of q.k and p.v.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <initializer_list>

#include "kernels/kv_page.h"
#include "kernels/queries.h"
#include "kernels/sample.h"

namespace hw {
namespace {

// CPU time of the thread: other processes share the machine.
double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void* aligned(size_t bytes) {
  void* p = nullptr;
  if (posix_memalign(&p, 4096, bytes) != 0) exit(2);
  return p;
}

constexpr int kSlices = 48;

int by_value(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return x < y ? -1 : x > y;
}

void bench(const Kernels& k, int type, int32_t dim, int32_t rows, int32_t heads, int64_t cache_bytes) {
  const int64_t page = kv_head_bytes(type, dim);
  const int64_t pages = cache_bytes / (2 * page);
  uint8_t* kv = (uint8_t*)aligned((size_t)(2 * page * pages));
  float *q = (float*)aligned((size_t)rows * heads * dim * 4), *x = (float*)aligned((size_t)dim * 4);
  float *m = (float*)aligned(65536), *l = (float*)aligned(65536), *o = (float*)aligned((size_t)rows * heads * dim * 4);
  void* scratch = aligned(kScratchBytes);
  SampleRng rng(1);
  for (int64_t i = 0; i < (int64_t)rows * heads * dim; i++) q[i] = rng.uniform();
  uint8_t* row = (uint8_t*)aligned(2 * kMaxHeadDim);
  for (int32_t i = 0; i < kPagePositions; i++) {
    for (int32_t d = 0; d < dim; d++) x[d] = rng.uniform();
    k.kv_store[type](x, row, dim);
    kv_place_key(type, row, kv, i, dim);
    kv_place_value(type, row, kv + page, i, dim);
  }
  for (int64_t i = 1; i < pages; i++) memcpy(kv + 2 * i * page, kv, (size_t)(2 * page));
  const int32_t cols = heads * dim;
  void* codes = aligned((size_t)query_bytes(rows, cols));
  const Acts acts = type == KV_F16 ? Acts{ACTS_F32, rows, cols, q, nullptr, nullptr, nullptr, cols, 0, 0, 0}
                                   : quantize_queries(k, q, cols, rows, cols, codes);
  int32_t k0[16], k1[16];
  for (int i = 0; i < 16; i++) k0[i] = 0, k1[i] = kPagePositions;
  const AttnPiece piece = {dim, dim, 0.1f, 0.0f};
  // Slices of the cache, three times over: the best says what the kernel can do, the median what a shared machine lets
  // it do.
  const int64_t flops_page = (int64_t)4 * rows * heads * dim * kPagePositions;
  const bool decode = cache_bytes > 1 << 20;
  const int64_t slice = decode ? pages / (kSlices / 3) : pages;
  const int64_t passes = decode ? 1 : 1 + 200000000 / (flops_page * pages);
  double seconds[kSlices];
  for (int n = 0; n < kSlices; n++) {
    const int64_t first = decode ? n % (kSlices / 3) * slice : 0;
    const double t = now();
    for (int64_t pass = 0; pass < passes; pass++)
      for (int64_t i = first; i < first + slice; i++)
        k.attn_piece[type][type](&piece, &acts, rows, heads, kv + 2 * i * page, kv + (2 * i + 1) * page, k0, k1,
                           i + 1 < first + slice ? kv + (2 * i + 2) * page : nullptr, m, l, o, scratch);
    seconds[n] = now() - t;
  }
  qsort(seconds, kSlices, sizeof(double), by_value);
  const double work = (double)(passes * slice) * 1e-9, best = work / seconds[0], median = work / seconds[kSlices / 2];
  const double bytes = 2.0 * (double)page, flops = (double)flops_page;
  const char* name = type == KV_F16 ? "f16" : type == KV_Q8_0 ? "q8_0" : "q4_0";
  printf("%-7s %-5s dim %3d rows %2d heads %2d  best %6.2f GB/s %6.1f GFLOP/s   median %6.2f GB/s %6.1f GFLOP/s\n",
         k.isa, name, dim, rows, heads, best * bytes, best * flops, median * bytes, median * flops);
  for (void* p : {(void*)kv, (void*)q, (void*)x, (void*)m, (void*)l, (void*)o, (void*)row, codes, scratch}) free(p);
}

void bench_isa(const Kernels& k) {
  const int64_t decode = 128ll << 20, prefill = 256 << 10;
  for (const int32_t dim : {64, 128})
    for (const int32_t heads : {1, 4, 8}) bench(k, KV_F16, dim, 1, heads, decode);
  for (const int type : {KV_Q8_0, KV_Q4_0})
    for (const int32_t dim : {64, 128}) bench(k, type, dim, 1, 4, decode);
  // From the second level: what arithmetic alone takes.
  for (const int type : {KV_F16, KV_Q8_0, KV_Q4_0}) bench(k, type, 64, 1, 4, prefill);
  for (const int32_t dim : {64, 128, 256}) bench(k, KV_F16, dim, 8, 4, prefill);
  bench(k, KV_F16, 128, 16, 8, prefill);
  bench(k, KV_Q8_0, 128, 16, 4, prefill);
}

}  // namespace
}  // namespace hw

int main(int argc, char** argv) {
  int count;
  const char* const* names = hw::isa_names(&count);
  for (int i = 0; i < count; i++) {
    const hw::Kernels* k = hw::kernels_for(names[i]);
    bool wanted = argc == 1 && i > 0;  // scalar only when asked: minutes
    for (int a = 1; a < argc; a++) wanted = wanted || strcmp(argv[a], names[i]) == 0;
    if (wanted && !k) printf("%s: this CPU cannot run it\n", names[i]);
    if (wanted && k) hw::bench_isa(*k);
  }
  return 0;
}
