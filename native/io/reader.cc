#include "reader.h"

#include <algorithm>

#include "reader_kinds.h"

namespace hw {

namespace {

std::atomic<ReadFault> read_fault{nullptr};

}  // namespace

void set_read_fault(ReadFault fault) { read_fault.store(fault); }

int Reader::injected_fault(const ReadJob& job) {
  ReadFault fault = read_fault.load(std::memory_order_relaxed);
  return fault == nullptr ? 0 : fault(job);
}

Reader::~Reader() {}

void Reader::add(Feed* feed, Urgency urgency) {
  {
    std::lock_guard<std::mutex> lock(feeds_mutex_);
    auto place = std::find_if(lanes_.begin(), lanes_.end(), [&](const auto& lane) { return lane->urgency > urgency; });
    lanes_.insert(place, std::make_shared<Lane>(Lane{feed, urgency}));
  }
  kick();
}

void Reader::remove(Feed* feed) {
  std::unique_lock<std::mutex> lock(feeds_mutex_);
  auto found = std::find_if(lanes_.begin(), lanes_.end(), [&](const auto& lane) { return lane->feed == feed; });
  if (found == lanes_.end()) return;
  std::shared_ptr<Lane> lane = *found;
  lanes_.erase(found);
  while (lane->in_flight > 0) landed_.wait(lock);
}

void Reader::set_depth(int depth) {
  {
    // A read that is being handed out now was allowed by the old depth: none is after this returns.
    std::lock_guard<std::mutex> lock(feeds_mutex_);
    depth_.store(std::min(std::max(depth, 1), capacity_), std::memory_order_relaxed);
  }
  kick();
}

bool Reader::take(Taken* out) {
  std::lock_guard<std::mutex> lock(feeds_mutex_);
  if (in_flight_.load() >= depth()) return false;
  for (size_t i = 0; i < lanes_.size(); i++) {
    std::shared_ptr<Lane> lane = lanes_[i];
    if (!lane->feed->take(&out->job)) continue;
    in_flight_.fetch_add(1);
    out->lane = lane;
    out->got = 0;
    lane->in_flight++;
    // Behind the others that are as urgent.
    for (; i + 1 < lanes_.size() && lanes_[i + 1]->urgency == lane->urgency; i++) std::swap(lanes_[i], lanes_[i + 1]);
    return true;
  }
  return false;
}

void Reader::finish(Taken* taken, const IoFailure* failure) {
  // Counted as under way until its feed knows: a feed never sees more reads at once than the depth.
  taken->lane->feed->finished(taken->job, failure);
  in_flight_.fetch_sub(1);
  std::lock_guard<std::mutex> lock(feeds_mutex_);
  if (--taken->lane->in_flight == 0) landed_.notify_all();
  taken->lane.reset();
}

FileHandle Reader::source(const Taken& taken, bool* direct) {
  const FileHandle handle = taken.job.file->direct_handle();
  *direct = handle != kNoFile;
  return *direct ? handle : taken.job.file->handle();
}

bool Reader::progress(Taken* taken, bool direct, int64_t result) {
  const ReadJob& job = taken->job;
  const int error = result < 0 ? static_cast<int>(-result) : 0;
  if (is_interrupted(error)) return false;
  if (is_refusal(error) && direct) {
    job.file->refuse_direct();
    return false;
  }
  const int64_t before = taken->got;
  if (result > 0) {
    taken->got += result;
    bytes_read_.fetch_add(result, std::memory_order_relaxed);
    if (taken->lane->feed->account != nullptr) taken->lane->feed->account->fetch_add(result, std::memory_order_relaxed);
    // The page cache must not hold what we read once per pass: it would push out what others need.
    if (!direct) forget_cached(job.file->handle(), job.offset, taken->got);
    if (taken->got >= job.needed) {
      finish(taken, nullptr);
      return true;
    }
    // A direct read goes on at a page. One that stops within its first page has met the end of the file.
    if (direct) taken->got = page_down(taken->got);
    if (taken->got > before) return false;
  }
  IoFailure failure;
  job.file->explain(error, job.offset, job.needed, taken->got, &failure);
  finish(taken, &failure);
  return true;
}

Reader* Reader::open(IoEngine engine, int depth) {
  depth = std::min(std::max(depth, 1), kMostDepth);
  Reader* reader = engine == IoEngine::threads ? nullptr : open_queue_reader(depth);
  return reader != nullptr ? reader : open_thread_reader(depth);
}

}  // namespace hw
