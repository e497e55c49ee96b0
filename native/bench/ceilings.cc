// The arithmetic ceilings of this machine, as JSON lines: what the multiply instructions of the matmul kernels reach
// with all operands in registers, 1 and N threads. Counts 2 operations per multiply-add. Best of several repetitions.
//   ceilings [THREADS]
#include <immintrin.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

namespace {

constexpr int64_t kLoops = 200000;  // about a millisecond: short enough to fall into a quiet one on a busy machine
constexpr int kMaxThreads = 256;

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Twelve independent chains: more than latency times throughput of any multiply here, fewer than 16 registers.
#define TWELVE(x) x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11)
#define DECLARE256(i) __m256i a##i = _mm256_setzero_si256();
#define DECLARE512(i) __m512i a##i = _mm512_setzero_si512();

#define FMA256(i) __asm__ volatile("vfmadd231ps %1, %1, %0" : "+x"(a##i) : "x"(w));
#define MADD(i) \
  __asm__ volatile("vpmaddubsw %2, %2, %1\n\tvpmaddwd %2, %1, %1\n\tvpaddd %1, %0, %0" : "+x"(a##i), "=&x"(t) : "x"(w));
#define MADD16(i) __asm__ volatile("vpmaddubsw %2, %2, %1\n\tvpaddw %1, %0, %0" : "+x"(a##i), "=&x"(t) : "x"(w));
#define FMA512(i) __asm__ volatile("vfmadd231ps %1, %1, %0" : "+v"(a##i) : "v"(w));
#define DPBUSD(i) __asm__ volatile("vpdpbusd %1, %1, %0" : "+v"(a##i) : "v"(w));

#define LOOP(name, isa, vector, zero, declare, body)                    \
  __attribute__((target(isa))) void name() {                           \
    vector w = zero, t = zero;                                         \
    __asm__ volatile("" : "+x"(w), "+x"(t));                           \
    TWELVE(declare)                                                    \
    for (int64_t i = 0; i < kLoops; i++) { TWELVE(body) }              \
  }

LOOP(fma256, "avx2,fma", __m256i, _mm256_setzero_si256(), DECLARE256, FMA256)
LOOP(madd256, "avx2", __m256i, _mm256_setzero_si256(), DECLARE256, MADD)
LOOP(madd16_256, "avx2", __m256i, _mm256_setzero_si256(), DECLARE256, MADD16)
LOOP(fma512, "avx512f", __m512i, _mm512_setzero_si512(), DECLARE512, FMA512)
LOOP(dpbusd512, "avx512f,avx512vnni", __m512i, _mm512_setzero_si512(), DECLARE512, DPBUSD)

struct Ceiling {
  const char* name;
  void (*run)();
  int operations;  // per body
  bool available;
};

struct Thread {
  void (*run)();
  int threads;
  int* ready;
  double start, end;
};

void* thread_main(void* argument) {
  Thread& t = *static_cast<Thread*>(argument);
  __atomic_add_fetch(t.ready, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(t.ready, __ATOMIC_SEQ_CST) < t.threads) {
  }
  t.start = now();
  t.run();
  t.end = now();
  return nullptr;
}

double measure(const Ceiling& c, int threads) {
  double best = 0;
  for (int repetition = 0; repetition < 100; repetition++) {
    pthread_t ids[kMaxThreads];
    Thread all[kMaxThreads];
    int ready = 0;
    for (int i = 0; i < threads; i++) all[i] = {c.run, threads, &ready, 0, 0};
    for (int i = 1; i < threads; i++) pthread_create(&ids[i], nullptr, thread_main, &all[i]);
    thread_main(&all[0]);
    for (int i = 1; i < threads; i++) pthread_join(ids[i], nullptr);
    double start = all[0].start, end = all[0].end;
    for (int i = 1; i < threads; i++) {
      if (all[i].start < start) start = all[i].start;
      if (all[i].end > end) end = all[i].end;
    }
    const double rate = 12.0 * kLoops * c.operations * threads / (end - start) * 1e-9;
    if (rate > best) best = rate;
  }
  return best;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? atoi(argv[1]) : 2;
  if (threads < 1 || threads > kMaxThreads) {
    fprintf(stderr, "ceilings: THREADS must be 1..%d\n", kMaxThreads);
    return 2;
  }
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f");
  const Ceiling ceilings[] = {
      {"fma_256", fma256, 16, avx2},
      {"maddubs_madd_add_256", madd256, 64, avx2},
      {"maddubs_add16_256", madd16_256, 64, avx2},
      {"fma_512", fma512, 32, avx512},
      {"dpbusd_512", dpbusd512, 128, avx512 && __builtin_cpu_supports("avx512vnni")},
  };
  for (const Ceiling& c : ceilings) {
    if (!c.available) {
      printf("{\"ceiling\":\"%s\",\"available\":false}\n", c.name);
      continue;
    }
    const double one = measure(c, 1);
    printf("{\"ceiling\":\"%s\",\"gops1\":%.1f,\"threads\":%d,\"gops\":%.1f}\n", c.name, one, threads,
           measure(c, threads));
  }
  return 0;
}
