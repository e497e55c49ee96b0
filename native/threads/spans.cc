#include "spans.h"

#include <string.h>

#include <mutex>
#include <new>

namespace hw {

std::atomic<bool> keeps_thread_spans{false};

namespace {

// One list for all pools of the process: spans are few (two a region), and only a trace asks for them.
std::mutex list_mutex;
ThreadSpan* list = nullptr;
int64_t places = 0, filled = 0, lost = 0;

}  // namespace

bool keep_thread_spans(int64_t most) {
  std::lock_guard<std::mutex> lock(list_mutex);
  keeps_thread_spans.store(false, std::memory_order_relaxed);
  delete[] list;
  places = filled = lost = 0;
  list = most > 0 ? new (std::nothrow) ThreadSpan[static_cast<size_t>(most)] : nullptr;
  if (list == nullptr) return most == 0;
  places = most;
  keeps_thread_spans.store(true, std::memory_order_relaxed);
  return true;
}

void add_thread_span(const ThreadSpan& span) {
  std::lock_guard<std::mutex> lock(list_mutex);
  if (filled < places)
    list[filled++] = span;
  else
    lost++;
}

int64_t take_thread_spans(ThreadSpan* out, int64_t most, int64_t* dropped) {
  std::lock_guard<std::mutex> lock(list_mutex);
  const int64_t count = filled < most ? filled : most;
  if (count > 0) memcpy(out, list, static_cast<size_t>(count) * sizeof(ThreadSpan));
  if (count < filled) memmove(list, list + count, static_cast<size_t>(filled - count) * sizeof(ThreadSpan));
  filled -= count;
  *dropped = lost;
  lost = 0;
  return count;
}

}  // namespace hw
