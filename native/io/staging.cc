#include "staging.h"

#include <algorithm>
#include <chrono>

#include "liveness.h"

namespace hw {

namespace {

typedef std::chrono::steady_clock Clock;

// How long a raised cancel flag may go unnoticed.
constexpr std::chrono::milliseconds kPoll(20);

}  // namespace

Staging::Staging(Reader& reader, DataFile& file, const int32_t* const* cancel_flag)
    : reader_(reader), file_(file), cancel_flag_(cancel_flag) {
  reader_.add(this, Urgency::now);
}

Staging::~Staging() { reader_.remove(this); }

bool Staging::open(Counters* counters, int64_t places, int64_t part_bytes) {
  bytes_ = place_bytes(part_bytes);
  // Room to begin at a page: small memory is aligned to less.
  if (!memory_.allocate(counters, Purpose::kv, static_cast<size_t>(places * bytes_ + kPage))) return false;
  std::lock_guard<std::mutex> lock(mutex_);
  places_.resize(static_cast<size_t>(places));
  return true;
}

Staging::Place* Staging::find(int64_t key) {
  for (Place& place : places_)
    if (place.state != State::free && place.part.key == key) return &place;
  return nullptr;
}

bool Staging::is_wanted(int64_t key) const {
  for (const StagedPart& part : wanted_)
    if (part.key == key) return true;
  return false;
}

Status Staging::want(const StagedPart* parts, size_t count, size_t now, const uint8_t** out) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (now > places_.size()) return fail("INTERNAL", "%zu parts are wanted in %zu places", now, places_.size());
  wanted_.assign(parts, parts + std::min(count, places_.size()));
  // What is being read has to stay: the disk writes into its memory.
  for (Place& place : places_)
    if (place.state != State::reading && (place.state == State::failed || !is_wanted(place.part.key)))
      place.state = State::free;
  reader_.kick();
  Clock::time_point began;
  bool waited = false;
  for (size_t i = 0; i < now;) {
    Place* place = find(wanted_[i].key);
    if (place != nullptr && place->state == State::ready) {
      out[i++] = memory_of(static_cast<size_t>(place - places_.data())) + place->part.offset % kPage;
      continue;
    }
    if (place != nullptr && place->state == State::failed) {
      place->state = State::free;  // another request may have more luck
      return place->failure.raise();
    }
    const int32_t* flag = *cancel_flag_;
    if (flag != nullptr && __atomic_load_n(flag, __ATOMIC_RELAXED) != 0) {
      return fail("CANCELLED", "stopped by the caller");
    }
    if (!waited) began = Clock::now();
    waited = true;
    DiskWait reading;
    changed_.wait_for(lock, kPoll);
  }
  if (waited) stall_ns_ += std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - began).count();
  return done();
}

bool Staging::take(ReadJob* job) {
  std::lock_guard<std::mutex> lock(mutex_);
  size_t free = 0;
  while (free < places_.size() && places_[free].state != State::free) free++;
  if (free == places_.size()) return false;
  for (const StagedPart& part : wanted_) {
    if (find(part.key) != nullptr) continue;
    places_[free].state = State::reading;
    places_[free].part = part;
    *job = widened(&file_, part.offset, part.bytes, memory_of(free), free);
    return true;
  }
  return false;
}

void Staging::finished(const ReadJob& job, const IoFailure* failure) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    Place& place = places_[static_cast<size_t>(job.tag)];
    place.state = failure == nullptr ? State::ready : State::failed;
    if (failure != nullptr) place.failure = *failure;
    // Nobody wants it any more: its place is for others.
    if (!is_wanted(place.part.key)) {
      place.state = State::free;
      reader_.kick();
    }
  }
  changed_.notify_one();
}

}  // namespace hw
