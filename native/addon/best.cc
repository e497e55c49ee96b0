// The largest logits of a row: what sampling begins with. One scan; of 262,144 logits all but a few hundred cost a share
// of one vector comparison with the worst of those kept.
#include <algorithm>

#include "addon.h"

namespace hw {

namespace {

constexpr int64_t kStride = 64;  // logits looked at together

typedef float Floats __attribute__((vector_size(16), aligned(4), may_alias));
typedef int32_t Words __attribute__((vector_size(16), aligned(4), may_alias));

// What a stride has: logits above the bound, and some that are not finite. Branch-free, for any instruction set.
struct Glance {
  bool above, faulty;
};

Glance look(const float* at, float bound) {
  const Floats bounds = {bound, bound, bound, bound};
  const Words exponent = {0x7f800000, 0x7f800000, 0x7f800000, 0x7f800000};
  Words above = {}, faulty = {};
  for (int64_t i = 0; i < kStride; i += 4) {
    const Floats values = *reinterpret_cast<const Floats*>(at + i);
    const Words bits = *reinterpret_cast<const Words*>(at + i);
    above |= values > bounds;
    faulty |= (bits & exponent) == exponent;
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

}  // namespace

Result<double> best_logits(Slice<const float> row, const Nullable<Slice<const uint8_t>>& marks, int32_t count,
                           Slice<int32_t> ids, Slice<double> logits) {
  if (count < 1 || count > ids.length || count > logits.length) return bad_argument("the best %d logits", count);
  const uint8_t* skipped = marks.present ? marks.value.data : nullptr;
  if (marks.present && marks.value.length != row.length) return bad_argument("marks of another length than the row");
  const float* values = row.data;
  const int64_t n = row.length;
  auto finite = [&](int64_t i) { return values[i] - values[i] == 0.0f; };
  Heap heap{ids.data, logits.data, 0};
  int64_t at = 0;
  for (; heap.size < count && at < n; at++) {
    if (!finite(at)) return static_cast<double>(-1 - at);
    if (skipped != nullptr && skipped[at] != 0) continue;
    heap.ids[heap.size] = static_cast<int32_t>(at);
    heap.logits[heap.size++] = static_cast<double>(values[at]);
  }
  for (int64_t i = heap.size / 2 - 1; i >= 0; i--) heap.sift(i);
  auto each = [&](int64_t end) {
    for (; at < end; at++) {
      if (!finite(at)) return false;
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
