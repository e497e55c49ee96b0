// What the matmul kernels reach, as JSON lines: GB/s of weights for 1 row streamed from memory, the cost of few rows,
// GOP/s for many, per type and ISA; first the read ceiling of the machine with plain loops.
//   bench_kernels [--mb 256] [--cols 4096] [--threads 1,2] [--rows 1,2,4,8,16,512] [--isa NAME] [--type NAME]
//   [--cached]
// Best of several repetitions: other work on the machine only ever makes a figure worse. tileGBps is the rate of the
// quickest eighth of single tiles of 1 MiB in one thread, for machines too busy to give a whole pass to anyone.
// --cached uses a matrix that stays in the second-level cache instead, which shows the arithmetic without the memory.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <time.h>

#include "kernels/kernels.h"
#include "kernels/sample.h"

namespace hw {
namespace {

constexpr int kMostThreads = 64;
constexpr double kSeconds = 0.25;  // of measuring per figure

struct Options {
  int64_t mb = 256;
  int32_t cols = 4096;
  int threads[8] = {1, 2}, thread_counts = 2;
  int rows[8] = {1, 2, 4, 8, 16, 512}, row_counts = 6;
  const char* isa = "";
  const char* type = "";
  bool cached = false, packed = false;
};

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

void* huge(int64_t bytes) {
  const size_t size = static_cast<size_t>((bytes + (2 << 20) - 1) >> 21 << 21);
  void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) exit(1);
#if defined(MADV_HUGEPAGE)
  madvise(p, size, MADV_HUGEPAGE);
#endif
  return p;
}

// Runs fn(arg, thread) on `threads` threads at once, the time from the common start to the last one's end.
struct Team {
  void (*fn)(void*, int);
  void* arg;
  pthread_barrier_t start;
  double begin[kMostThreads], end[kMostThreads];

  struct Member {
    Team* team;
    int index;
  };
  static void* main(void* p) {
    Member* m = static_cast<Member*>(p);
    pthread_barrier_wait(&m->team->start);
    m->team->begin[m->index] = now();
    m->team->fn(m->team->arg, m->index);
    m->team->end[m->index] = now();
    return nullptr;
  }

  double run(int threads) {
    pthread_t ids[kMostThreads];
    Member members[kMostThreads];
    pthread_barrier_init(&start, nullptr, static_cast<unsigned>(threads));
    for (int i = 0; i < threads; i++) {
      members[i] = {this, i};
      if (i > 0) pthread_create(&ids[i], nullptr, main, &members[i]);
    }
    main(&members[0]);
    for (int i = 1; i < threads; i++) pthread_join(ids[i], nullptr);
    pthread_barrier_destroy(&start);
    double first = begin[0], last = end[0];
    for (int i = 1; i < threads; i++) {
      first = begin[i] < first ? begin[i] : first;
      last = end[i] > last ? end[i] : last;
    }
    return last - first;
  }
};

double best_time(void (*fn)(void*, int), void* arg, int threads) {
  static Team team;
  team.fn = fn;
  team.arg = arg;
  double best = 1e9;
  const double until = now() + kSeconds;
  for (int i = 0; i < 2 || (now() < until && i < 200); i++) {
    const double t = team.run(threads);
    best = t < best ? t : best;
  }
  return best;
}

// --- the ceiling: one sequential stream per thread, eight independent sums, prefetch distance as given

struct ReadJob {
  const uint64_t* data;
  int64_t words;
  int threads, ahead;
  uint64_t sums[kMostThreads];
};

void read_range(void* p, int thread) {
  ReadJob* job = static_cast<ReadJob*>(p);
  const int64_t each = job->words / job->threads / 8 * 8;
  const uint64_t* w = job->data + each * thread;
  uint64_t s[8] = {};
  for (int64_t i = 0; i < each; i += 8) {
#if defined(__GNUC__)
    if (job->ahead) __builtin_prefetch(w + i + job->ahead / 8);
#endif
    for (int k = 0; k < 8; k++) s[k] += w[i + k];
  }
  for (int k = 1; k < 8; k++) s[0] += s[k];
  job->sums[thread] = s[0];
}

void bench_ceiling(const Options& o, const uint8_t* data) {
  static ReadJob job;
  for (int i = 0; i < o.thread_counts; i++) {
    double best = 0;
    int at = 0;
    for (int ahead : (const int[]){0, 512, 1024, 2048, 4096}) {
      job.data = reinterpret_cast<const uint64_t*>(data);
      job.words = (o.mb << 20) / 8;
      job.threads = o.threads[i];
      job.ahead = ahead;
      const double rate = static_cast<double>(o.mb << 20) / best_time(read_range, &job, job.threads) / 1e9;
      if (rate > best) best = rate, at = ahead;
    }
    printf("{\"what\":\"read\",\"threads\":%d,\"prefetch\":%d,\"GBps\":%.2f}\n", o.threads[i], at, best);
    fflush(stdout);
  }
}

// --- matmul

struct MatmulJob {
  MatmulFn fn;
  const uint8_t* w;
  int64_t row_bytes;
  int32_t rows, cols, n;
  int threads, repeat;
  Acts acts;
  float* out;
  uint8_t* scratch;
  double* tile_seconds;  // of thread 0, [kTimes]; tiles that were cut short are not in it
  int timed;
};
constexpr int kTimes = 1 << 16;

int32_t tile_rows(const MatmulJob& j) { return static_cast<int32_t>((1 << 20) / j.row_bytes / 16 * 16 + 16); }

// Each thread walks its own rows, as the pool does, in calls of a tile each.
void matmul_range(void* p, int thread) {
  MatmulJob& j = *static_cast<MatmulJob*>(p);
  const auto at = [&](int i) { return static_cast<int32_t>(static_cast<int64_t>(j.rows / 16) * i / j.threads * 16); };
  const int32_t from = at(thread), to = at(thread + 1);
  const int32_t tile = tile_rows(j);
  for (int k = 0; k < j.repeat; k++) {
    for (int32_t r = from; r < to; r += tile) {
      const int32_t count = to - r < tile ? to - r : tile;
      const double begin = now();
      j.fn(j.w + r * j.row_bytes, j.row_bytes, count, j.cols, &j.acts, nullptr, j.n, j.out + r, j.rows,
           j.scratch + static_cast<size_t>(thread) * kScratchBytes);
      if (thread == 0 && count == tile && j.timed < kTimes) j.tile_seconds[j.timed++] = now() - begin;
    }
  }
}

int by_size(const void* a, const void* b) {
  const double x = *static_cast<const double*>(a), y = *static_cast<const double*>(b);
  return x < y ? -1 : x > y;
}

double tile_rate(MatmulJob& job) {
  if (job.timed < 4) return 0;
  qsort(job.tile_seconds, static_cast<size_t>(job.timed), sizeof(double), by_size);
  const int64_t tile = tile_rows(job);
  return static_cast<double>(tile * job.row_bytes) / job.tile_seconds[job.timed / 8] / 1e9;
}

struct Buffers {
  uint8_t* weights;
  float *x, *d, *out;
  int8_t* q;
  int16_t* sums;
  uint8_t* scratch;
  int64_t out_floats;
};

void bench_type(const Options& o, const Kernels& k, const DtypeInfo& info, Buffers& b) {
  MatmulJob job;
  job.w = b.weights;
  job.cols = o.cols;
  job.row_bytes = static_cast<int64_t>(o.cols) / info.block * info.bytes;
  job.scratch = b.scratch;
  job.out = b.out;
  const int block = info.acts == ACTS_Q8_256 ? 256 : 32;
  for (int i = 0; i < o.row_counts; i++) {
    const int n = o.rows[i];
    const bool many = n >= k.gemm_min_rows[info.dtype];
    job.n = n;
    job.fn = o.packed ? k.packed[info.dtype] : many ? k.gemm[info.dtype] : k.matvec[info.dtype];
    if (!job.fn) continue;
    job.repeat = o.cached ? 50 : 1;
    // Enough weights to leave every cache behind; many rows are about arithmetic, and fewer weights do.
    const int64_t bytes = o.cached ? 256 << 10 : n > 16 ? 2 << 20 : o.mb << 20;
    int64_t rows = bytes / job.row_bytes;
    if (rows * n > b.out_floats) rows = b.out_floats / n;
    rows -= rows % 16;  // as matrices have: output rows that do not straddle cache lines
    job.rows = static_cast<int32_t>(rows);
    job.acts = {info.acts, n, o.cols, b.x, b.q, b.d, b.sums, o.cols, o.cols, o.cols / block, o.cols / 16};
    if (info.acts != ACTS_F32) {
      (block == 256 ? k.quantize_q8_256 : k.quantize_q8_32)(b.x, b.q, b.d, b.sums, static_cast<int64_t>(n) * o.cols);
    }
    for (int t = 0; t < o.thread_counts; t++) {
      static double times[kTimes];
      job.threads = o.threads[t];
      job.tile_seconds = times;
      job.timed = 0;
      const double seconds = best_time(matmul_range, &job, job.threads) / job.repeat;
      const double read = static_cast<double>(rows * job.row_bytes);
      printf(
          "{\"what\":\"%s\",\"isa\":\"%s\",\"type\":\"%s\",\"cols\":%d,\"n\":%d,\"threads\":%d,\"cached\":%s,"
          "\"GBps\":%.2f,\"tileGBps\":%.2f,\"GOPs\":%.1f}\n",
          o.packed ? "packed"
          : many   ? "gemm"
                   : "matvec",
          k.isa, info.name, o.cols, n, job.threads, o.cached ? "true" : "false", read / seconds / 1e9, tile_rate(job),
          2.0 * static_cast<double>(rows) * o.cols * n / seconds / 1e9);
      fflush(stdout);
    }
  }
}

int numbers(const char* text, int* out) {
  int count = 0;
  for (char* end; *text && count < 8; text = *end ? end + 1 : end) {
    out[count++] = static_cast<int>(strtol(text, &end, 10));
    if (end == text) return 0;
  }
  return count;
}

bool parse(int argc, char** argv, Options& o) {
  for (int i = 1; i < argc; i++) {
    const char* v = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(argv[i], "--cached")) o.cached = true;
    else if (!strcmp(argv[i], "--packed")) o.packed = true;
    else if (!strcmp(argv[i], "--mb")) o.mb = strtol(v, nullptr, 10), i++;
    else if (!strcmp(argv[i], "--cols")) o.cols = static_cast<int32_t>(strtol(v, nullptr, 10)), i++;
    else if (!strcmp(argv[i], "--threads")) o.thread_counts = numbers(v, o.threads), i++;
    else if (!strcmp(argv[i], "--rows")) o.row_counts = numbers(v, o.rows), i++;
    else if (!strcmp(argv[i], "--isa")) o.isa = v, i++;
    else if (!strcmp(argv[i], "--type")) o.type = v, i++;
    else return false;
  }
  for (int i = 0; i < o.thread_counts; i++) {
    if (o.threads[i] < 1 || o.threads[i] > kMostThreads) return false;
  }
  for (int i = 0; i < o.row_counts; i++) {
    if (o.rows[i] < 1 || o.rows[i] > 4096) return false;
  }
  return o.mb > 0 && o.cols > 0 && o.cols % 32 == 0 && o.thread_counts > 0 && o.row_counts > 0;
}

}  // namespace
}  // namespace hw

int main(int argc, char** argv) {
  using namespace hw;
  Options o;
  if (!parse(argc, argv, o)) {
    fprintf(stderr, "usage: bench_kernels [--mb N] [--cols MULTIPLE_OF_32] [--threads 1,2] [--rows 1,2,4,8,16,512] "
                    "[--isa NAME] [--type NAME] [--cached]\n");
    return 2;
  }
  int most_rows = 1, most_threads = 1;
  for (int i = 0; i < o.row_counts; i++) most_rows = o.rows[i] > most_rows ? o.rows[i] : most_rows;
  for (int i = 0; i < o.thread_counts; i++) most_threads = o.threads[i] > most_threads ? o.threads[i] : most_threads;
  const int64_t values = static_cast<int64_t>(most_rows) * o.cols;
  Buffers b;
  b.out_floats = 8 << 20;
  b.weights = static_cast<uint8_t*>(huge(o.mb << 20));
  b.x = static_cast<float*>(huge(values * 4));
  b.d = static_cast<float*>(huge(values / 8));
  b.q = static_cast<int8_t*>(huge(values));
  b.sums = static_cast<int16_t*>(huge(values / 8));
  b.out = static_cast<float*>(huge(b.out_floats * 4));
  b.scratch = static_cast<uint8_t*>(huge(static_cast<int64_t>(kScratchBytes) * most_threads));
  SampleRng rng(1);
  for (int64_t i = 0; i < values; i++) b.x[i] = rng.uniform();
  memset(b.out, 0, static_cast<size_t>(b.out_floats) * 4);

  int count, isas;
  const DtypeInfo* infos = dtype_infos(&count);
  const char* const* names = isa_names(&isas);
  memset(b.weights, 1, static_cast<size_t>(o.mb) << 20);
  if (!o.cached) bench_ceiling(o, b.weights);
  for (int t = 0; t < count; t++) {
    const DtypeInfo& info = infos[t];
    if (*o.type && strcasecmp(o.type, info.name) != 0) continue;
    // One megabyte of random blocks, repeated.
    const int64_t piece = (1 << 20) / info.bytes * info.bytes, total = o.mb << 20;
    sample_weights(info, rng, b.weights, piece / info.bytes * info.block);
    for (int64_t at = piece; at < total; at += piece) {
      memcpy(b.weights + at, b.weights, static_cast<size_t>(total - at < piece ? total - at : piece));
    }
    for (int i = 1; i < isas; i++) {
      const Kernels* k = kernels_for(names[i]);
      if (k && (!*o.isa || !strcmp(o.isa, k->isa))) bench_type(o, *k, info, b);
    }
  }
  return 0;
}
