// When threads computed, for traces.
#include "../threads/spans.h"

#include <algorithm>
#include <memory>
#include <new>

#include "../system/thread.h"
#include "addon.h"

namespace hw {

Status keep_spans(int64_t most) {
  constexpr int64_t kMost = int64_t{1} << 20;
  if (most < 0 || most > kMost) return bad_argument("0 to %lld spans are kept", static_cast<long long>(kMost));
  if (!keep_thread_spans(most)) return fail("MEMORY_BUDGET", "no memory for %lld spans", static_cast<long long>(most));
  return done();
}

Result<double> take_spans(Slice<double> out) {
  const int64_t places = out.length < 2 ? -1 : (out.length - 2) / 3;
  if (places < 0 || out.length != 3 * places + 2) return bad_argument("spans are three numbers each, and two more");
  std::unique_ptr<ThreadSpan[]> spans(new (std::nothrow) ThreadSpan[static_cast<size_t>(places)]);
  if (spans == nullptr) return fail("MEMORY_BUDGET", "no memory for %lld spans", static_cast<long long>(places));
  int64_t lost = 0;
  const int64_t count = take_thread_spans(spans.get(), places, &lost);
  for (int64_t i = 0; i < count; i++) {
    out.data[3 * i] = spans[i].thread;
    out.data[3 * i + 1] = 1e-6 * static_cast<double>(spans[i].begin);
    out.data[3 * i + 2] = 1e-6 * static_cast<double>(spans[i].end);
  }
  out.data[3 * places] = 1e-6 * static_cast<double>(monotonic_nanoseconds());
  out.data[3 * places + 1] = static_cast<double>(lost);
  return static_cast<double>(count);
}

}  // namespace hw
