// The thread pool under stress: every part runs exactly once, results are visible afterwards, threads sleep and wake,
// pools come and go. Meant to run plain and under the thread sanitizer.
#include <stdio.h>
#include <stdlib.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "../system/thread.h"
#include "../threads/nodes.h"
#include "../threads/pool.h"
#include "../threads/spans.h"
#include "system.h"

namespace {

int failures = 0;

void check(bool ok, const char* what, long long a = 0, long long b = 0) {
  if (ok) return;
  fprintf(stderr, "FAILED: %s (%lld, %lld)\n", what, a, b);
  failures++;
}

double seconds() {
  return 1e-9 * static_cast<double>(hw::monotonic_nanoseconds());
}

// Plain (not atomic) counters: a part that ran twice at once, or a result that is not visible, is a data race.
void every_part_once(int threads, int64_t parts, int regions) {
  std::unique_ptr<hw::Pool> pool(hw::Pool::open(threads, nullptr, 0));
  std::vector<int> runs(static_cast<size_t>(parts), 0);
  std::vector<long long> sums(static_cast<size_t>(threads) * 16, 0);
  for (int region = 0; region < regions; region++) {
    pool->parallel_for(parts, [&](int64_t part, int thread) {
      runs[static_cast<size_t>(part)]++;
      sums[static_cast<size_t>(thread) * 16] += part;
    });
  }
  long long sum = 0;
  for (int t = 0; t < threads; t++) sum += sums[static_cast<size_t>(t) * 16];
  check(sum == regions * (parts * (parts - 1) / 2), "sum of parts", sum, parts);
  for (int64_t part = 0; part < parts; part++) {
    check(runs[static_cast<size_t>(part)] == regions, "part ran as often as there were regions", part, threads);
  }
}

// A thread's spans do not overlap and each lies in its region; what finds no place is counted.
void spans_are_kept() {
  std::unique_ptr<hw::Pool> pool(hw::Pool::open(3, nullptr, 0));
  std::atomic<long long> sum{0};
  auto region = [&] { pool->parallel_for(64, [&](int64_t part, int) { sum += part; }); };
  hw::ThreadSpan spans[4096];
  int64_t dropped = 0;
  region();
  check(hw::take_thread_spans(spans, 4096, &dropped) == 0, "no spans unless asked for");
  check(hw::keep_thread_spans(4096), "spans are kept");
  const int64_t begin = hw::monotonic_nanoseconds();
  for (int i = 0; i < 200; i++) region();
  const int64_t end = hw::monotonic_nanoseconds();
  const int64_t count = hw::take_thread_spans(spans, 4096, &dropped);
  check(count >= 200 && count <= 600 && dropped == 0, "spans of 200 regions", count, dropped);
  int64_t last[3] = {begin, begin, begin};
  for (int64_t i = 0; i < count; i++) {
    const hw::ThreadSpan& span = spans[i];
    check(span.thread >= 0 && span.thread < 3, "a thread of the pool", span.thread);
    check(span.begin >= last[span.thread] && span.begin <= span.end && span.end <= end, "spans in order", i);
    last[span.thread] = span.end;
  }
  check(hw::keep_thread_spans(2), "fewer are kept");
  for (int i = 0; i < 5; i++) region();
  check(hw::take_thread_spans(spans, 1, &dropped) == 1 && dropped >= 3, "those without a place are counted", dropped);
  check(hw::take_thread_spans(spans, 4096, &dropped) == 1 && dropped == 0, "the rest is taken later", dropped);
  hw::keep_thread_spans(0);
  region();
  check(hw::take_thread_spans(spans, 4096, &dropped) == 0, "no spans any more");
}

// A region reads what the region before wrote on other threads.
void results_flow(int threads) {
  std::unique_ptr<hw::Pool> pool(hw::Pool::open(threads, nullptr, 0));
  const int64_t parts = 64;
  std::vector<long long> a(parts, 1), b(parts, 0);
  for (int region = 0; region < 300; region++) {
    pool->parallel_for(parts, [&](int64_t part, int) { b[part] = a[(part + 1) % parts] + a[(part + 37) % parts]; });
    pool->parallel_for(parts, [&](int64_t part, int) { a[part] = b[part] % 1000003; });
  }
  std::vector<long long> x(parts, 1), y(parts, 0);
  for (int region = 0; region < 300; region++) {
    for (int64_t part = 0; part < parts; part++) y[part] = x[(part + 1) % parts] + x[(part + 37) % parts];
    for (int64_t part = 0; part < parts; part++) x[part] = y[part] % 1000003;
  }
  for (int64_t part = 0; part < parts; part++) check(a[part] == x[part], "value computed in turn", a[part], x[part]);
}

// Pauses longer than the spin: workers are asleep when the next region starts.
void sleeps_and_wakes() {
  std::unique_ptr<hw::Pool> pool(hw::Pool::open(3, nullptr, 0));
  for (int i = 0; i < 60; i++) {
    std::vector<int> runs(7, 0);
    test_system::sleep_microseconds(i % 5 * 40);
    if (i % 2 == 1) pool->wake();
    if (i % 6 == 1) test_system::sleep_microseconds(200);  // woken for nothing: asleep again
    pool->parallel_for(7, [&](int64_t part, int) {
      if (part == 3) test_system::sleep_microseconds(200);
      runs[static_cast<size_t>(part)]++;
    });
    for (int r : runs) check(r == 1, "part after a pause", r);
  }
}

// Unequal parts: a thread that is done helps the others.
void balances() {
  if (std::thread::hardware_concurrency() < 2) return;
  std::unique_ptr<hw::Pool> pool(hw::Pool::open(2, nullptr, 0));
  std::vector<int> by(40, -1);
  double start = seconds();
  // The first half, which is thread 0's run, is slow; and however busy the machine is, it waits for help.
  std::atomic<bool> helped{false};
  pool->parallel_for(40, [&](int64_t part, int thread) {
    by[static_cast<size_t>(part)] = thread;
    if (part >= 20) return;
    if (thread == 1) helped = true;
    test_system::sleep_microseconds(2000);
    if (part == 0) {
      for (int ms = 0; ms < 120000 && !helped; ms++) test_system::sleep_microseconds(1000);
    }
  });
  double elapsed = seconds() - start;
  int stolen = 0;
  for (int part = 0; part < 20; part++) stolen += by[static_cast<size_t>(part)] == 1;
  printf("unequal parts: %d of 20 slow ones stolen, %.1f ms of 40\n", stolen, elapsed * 1e3);
  check(stolen > 0, "slow parts are stolen", stolen);
}

void many_pools() {
  for (int i = 0; i < 50; i++) {
    std::unique_ptr<hw::Pool> a(hw::Pool::open(1 + i % 4, nullptr, 0)), b(hw::Pool::open(2, nullptr, 0));
    std::vector<int> runs(5, 0);
    if (i % 2 == 0) a->parallel_for(5, [&](int64_t part, int) { runs[static_cast<size_t>(part)]++; });
    b->parallel_for(5, [&](int64_t part, int) { runs[static_cast<size_t>(part)]++; });
    for (int r : runs) check(r == 1 + (i % 2 == 0), "part of one of two pools", r, i);
  }
}

// Two pools used by two threads at the same time.
void pools_at_once() {
  auto use = [](int threads) { every_part_once(threads, 100, 300); };
  std::thread other(use, 2);
  use(3);
  other.join();
}

// Several callers of one pool: every part of each region runs once, no region inside another's, nobody waits for ever.
void callers_take_turns() {
  std::unique_ptr<hw::Pool> pool(hw::Pool::open(3, nullptr, 0));
  std::atomic<int> owner{0}, faults{0};
  auto use = [&](int id, int64_t parts) {
    std::vector<int> runs(static_cast<size_t>(parts), 0);
    std::atomic<int64_t> over{0};
    const int regions = 400;
    for (int region = 0; region < regions; region++) {
      over.store(0);
      pool->parallel_for(parts, [&](int64_t part, int) {
        int found = 0;
        if (!owner.compare_exchange_strong(found, id) && found != id) faults++;
        runs[static_cast<size_t>(part)]++;
        if (over.fetch_add(1) + 1 == parts) owner.store(0);
      });
      if (region % 50 == 49) test_system::sleep_microseconds(300);  // long enough to fall asleep
    }
    for (int64_t part = 0; part < parts; part++) faults += runs[static_cast<size_t>(part)] != regions;
  };
  std::thread a(use, 1, 40), b(use, 2, 7);
  use(3, 200);
  a.join();
  b.join();
  check(faults.load() == 0, "regions of several callers", faults.load());
}

void bound_threads() {
  const int32_t cpus[] = {0};
  std::unique_ptr<hw::Pool> pool(hw::Pool::open(2, cpus, 1));
  check(pool != nullptr, "a pool bound to one CPU");
  int runs = 0;
  pool->parallel_for(1, [&](int64_t, int) { runs++; });
  check(runs == 1, "one part");
  const int32_t absent[] = {100000};
  std::unique_ptr<hw::Pool> other(hw::Pool::open(2, absent, 1));
  check(other != nullptr, "a CPU that does not exist leaves threads unbound");
}

// Regions of fewer threads in between: the others rest, and come back when a region is theirs again.
void fewer_threads() {
  std::unique_ptr<hw::Pool> pool(hw::Pool::open(4, nullptr, 0));
  for (int round = 0; round < 300; round++) {
    const int active = 1 + (round / 20) % 4;
    std::vector<int> runs(50, 0);
    std::atomic<int> foreign{0};
    pool->parallel_for(active, 50, [&](int64_t part, int thread) {
      runs[static_cast<size_t>(part)]++;
      if (thread >= active) foreign++;
    });
    for (int r : runs) check(r == 1, "part of a region of fewer threads", r, active);
    check(foreign.load() == 0, "threads that should rest", foreign.load(), active);
    if (round % 30 == 29) test_system::sleep_microseconds(300);
  }
}

// On pretended memory nodes every part still runs once, and the first share is that of the first node's first thread.
void parts_by_node() {
  for (int nodes = 1; nodes <= 4; nodes++) {
    for (int threads = nodes; threads <= 6; threads++) {
      const int32_t cpus[] = {0};
      std::unique_ptr<hw::Pool> pool(hw::Pool::open(threads, cpus, 1, nodes));
      std::vector<std::atomic<int>> runs(97);
      for (int active = nodes; active <= threads; active++) {
        for (auto& r : runs) r.store(0);
        pool->parallel_for(active, 97, [&](int64_t part, int) { runs[static_cast<size_t>(part)]++; });
        for (auto& r : runs) check(r.load() == 1, "part of a region over nodes", r.load(), nodes);
      }
    }
  }
  check(hw::node_rows(1000, 0, 2) == 0 && hw::node_rows(1000, 2, 2) == 1000, "all rows are of a node");
  check(hw::node_rows(1000, 1, 2) == 448, "whole strips", static_cast<int>(hw::node_rows(1000, 1, 2)));
}

void refuses() {
  check(hw::Pool::open(0, nullptr, 0) == nullptr, "no threads");
  check(hw::Pool::open(hw::kMaxThreads + 1, nullptr, 0) == nullptr, "too many threads");
}

// From the caller's start of a region until every thread is inside, and back. Each part waits for the others, so none
// can be stolen. The least of many rounds, so that other programs do not show; needs as many CPUs as threads.
// `ahead` microseconds before the region the workers are woken.
void hand_over(int threads, int64_t pause, int ahead, const char* name) {
  if (static_cast<int>(std::thread::hardware_concurrency()) < threads) return;
  const int32_t cpus[] = {0, 1, 2, 3};  // a busy machine would put both threads on one CPU
  hw::BoundCaller bound(cpus[0]);
  std::unique_ptr<hw::Pool> pool(hw::Pool::open(threads, cpus, 4));
  double least = 1, sum = 0;
  const int rounds = 200;
  for (int i = 0; i < rounds; i++) {
    if (pause != 0) test_system::sleep_microseconds(pause);
    if (ahead > 0) {
      const double until = seconds() + 1e-6 * ahead;
      pool->wake();
      while (seconds() < until) {
      }
    }
    const int regions = pause != 0 ? 1 : 20;
    double start = seconds();
    for (int r = 0; r < regions; r++) {
      std::atomic<int> arrived(0);
      pool->parallel_for(threads, [&](int64_t, int) {
        arrived.fetch_add(1);
        while (arrived.load() < threads) std::this_thread::yield();
      });
    }
    double each = (seconds() - start) / regions;
    least = each < least ? each : least;
    sum += each;
  }
  printf("hand-over to %d threads, %s: %.2f us at best, %.2f us on average\n", threads, name, least * 1e6,
         sum / rounds * 1e6);
}

}  // namespace

int main() {
  for (int threads : {1, 2, 3, 5, 8}) {
    for (int64_t parts : {int64_t{0}, int64_t{1}, int64_t{2}, int64_t{7}, int64_t{500}})
      every_part_once(threads, parts, 500);
    results_flow(threads);
  }
  sleeps_and_wakes();
  balances();
  many_pools();
  pools_at_once();
  callers_take_turns();
  bound_threads();
  fewer_threads();
  parts_by_node();
  refuses();
  spans_are_kept();
  hand_over(2, 0, 0, "spinning");
  hand_over(2, 300, 0, "asleep");
  hand_over(2, 300, 60, "woken 60 us before");
  printf(failures == 0 ? "pool: all passed\n" : "pool: %d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
