// Scans of a row of logits. The largest ones are what sampling begins with: of 262,144 logits all but a few hundred
// cost a share of one vector comparison with the worst of those kept. The sum of their exponentials is what
// log-probabilities need.
#include <algorithm>

#include "addon.h"

namespace hw {

namespace {

constexpr int64_t kStride = 64;  // logits looked at together

typedef float Floats __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t Words __attribute__((vector_size(16), aligned(4), may_alias));

// What a stride has: logits above the bound, and some that are no numbers or infinite (-Infinity, a token that cannot
// come, is a logit like any other). Branch-free, for any instruction set.
struct Glance {
  bool above, faulty;
};

Glance look(const float* at, float bound) {
  const Floats bounds = {bound, bound, bound, bound};
  const Words exponent = {0x7f800000, 0x7f800000, 0x7f800000, 0x7f800000};
  const int32_t never = static_cast<int32_t>(0xff800000u);  // -Infinity
  const Words nevers = {never, never, never, never};
  Words above = {}, faulty = {};
  for (int64_t i = 0; i < kStride; i += 4) {
    const Floats values = *reinterpret_cast<const Floats*>(at + i);
    const Words bits = *reinterpret_cast<const Words*>(at + i);
    above |= values > bounds;
    faulty |= ((bits & exponent) == exponent) & (bits != nevers);
  }
  auto any = [](const Words& w) { return (w[0] | w[1] | w[2] | w[3]) != 0; };
  return Glance{any(above), any(faulty)};
}

// A heap with the worst on top, in the arrays of the caller: the lower logit, of equal ones the higher id.
struct Heap {
  int32_t* ids;
  double* logits;
  int64_t size;

  bool worse(int64_t i, int64_t j) const {
    return logits[i] < logits[j] || (logits[i] == logits[j] && ids[i] > ids[j]);
  }
  void sift(int64_t parent) {
    for (int64_t child = 2 * parent + 1; child < size; child = 2 * parent + 1) {
      if (child + 1 < size && worse(child + 1, child)) child++;
      if (!worse(child, parent)) return;
      std::swap(ids[parent], ids[child]);
      std::swap(logits[parent], logits[child]);
      parent = child;
    }
  }
};

typedef double Doubles __attribute__((vector_size(16)));
typedef int64_t Longs __attribute__((vector_size(16)));
constexpr int64_t kBlock = 512;   // terms of a partial sum, as in logprobs.ts
constexpr int64_t kVectors = 4;   // side by side: a chain of twelve products waits for each

Doubles all(double value) { return Doubles{value, value}; }

// 1/n! from n = 12 down: Taylor of e^f is right to 2e-16 where |f| <= ln 2 / 2.
constexpr double kTaylor[] = {1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320,
                              1.0 / 5040,      1.0 / 720,      1.0 / 120,     1.0 / 24,     1.0 / 6,
                              0.5,             1.0,            1.0};

// Adds e^x for x <= 0 to the sums: 2^k e^f. Below -700 it is e^-700. Plain multiplications and additions in this order,
// so that every instruction set has the same bits.
inline void add_exp(const Doubles* x, Doubles* sums) {
  const Doubles rounding = all(6755399441055744.0);  // 1.5 * 2^52: the integer is in the low bits then
  Doubles f[kVectors], p[kVectors], shifted[kVectors];
  for (int64_t v = 0; v < kVectors; v++) {
    const Doubles least = all(-700.0);
    const Doubles clamped = x[v] < least ? least : x[v];
    shifted[v] = clamped * all(1.4426950408889634) + rounding;
    const Doubles k = shifted[v] - rounding;
    f[v] = (clamped - k * all(6.93147180369123816490e-01)) - k * all(1.90821492927058770002e-10);
    p[v] = all(kTaylor[0]);
  }
#pragma GCC unroll 12
  for (int64_t n = 1; n < 13; n++) {
    for (int64_t v = 0; v < kVectors; v++) p[v] = p[v] * f[v] + all(kTaylor[n]);
  }
  for (int64_t v = 0; v < kVectors; v++) sums[v] += (Doubles)((Longs)p[v] + ((Longs)shifted[v] << 52));
}

}  // namespace

Result<double> sum_of_exp(Slice<const float> row, double max) {
  constexpr int64_t width = 2 * kVectors;
  double sum = 0;
  for (int64_t from = 0; from < row.length; from += kBlock) {
    const int64_t to = std::min(from + kBlock, row.length);
    Doubles sums[kVectors] = {};
    Doubles x[kVectors];
    int64_t i = from;
    for (; i + width <= to; i += width) {
      const float* at = row.data + i;
      for (int64_t v = 0; v < kVectors; v++) x[v] = Doubles{at[2 * v], at[2 * v + 1]} - all(max);
      add_exp(x, sums);
    }
    if (i < to) {
      for (int64_t j = 0; j < width; j++)
        x[j / 2][j % 2] = i + j < to ? row.data[i + j] - max : -700;  // e^-700 adds nothing
      add_exp(x, sums);
    }
    const Doubles part = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    sum += part[0] + part[1];
  }
  return sum;
}

Result<double> best_logits(Slice<const float> row, const Nullable<Slice<const uint8_t>>& marks, int32_t count,
                           Slice<int32_t> ids, Slice<double> logits) {
  if (count < 1 || count > ids.length || count > logits.length) return bad_argument("the best %d logits", count);
  const uint8_t* skipped = marks.present ? marks.value.data : nullptr;
  if (marks.present && marks.value.length != row.length) return bad_argument("marks of another length than the row");
  const float* values = row.data;
  const int64_t n = row.length;
  auto sound = [&](int64_t i) { return values[i] < __builtin_inff(); };
  Heap heap{ids.data, logits.data, 0};
  int64_t at = 0;
  for (; heap.size < count && at < n; at++) {
    if (!sound(at)) return static_cast<double>(-1 - at);
    if (skipped != nullptr && skipped[at] != 0) continue;
    heap.ids[heap.size] = static_cast<int32_t>(at);
    heap.logits[heap.size++] = static_cast<double>(values[at]);
  }
  for (int64_t i = heap.size / 2 - 1; i >= 0; i--) heap.sift(i);
  auto each = [&](int64_t end) {
    for (; at < end; at++) {
      if (!sound(at)) return false;
      // Of equal logits the lower id goes first, and that is the one that is there.
      if (!(static_cast<double>(values[at]) > heap.logits[0]) || (skipped != nullptr && skipped[at] != 0)) continue;
      heap.ids[0] = static_cast<int32_t>(at);
      heap.logits[0] = static_cast<double>(values[at]);
      heap.sift(0);
    }
    return true;
  };
  while (at + kStride <= n) {
    const Glance seen = look(values + at, static_cast<float>(heap.logits[0]));
    if (!seen.above && !seen.faulty) at += kStride;
    else if (!each(at + kStride)) return static_cast<double>(-1 - at);
  }
  if (!each(n)) return static_cast<double>(-1 - at);
  return static_cast<double>(heap.size);
}

}  // namespace hw
