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
      out[i++] = memory_of(static_cast<size_t>(place - places_.data()));
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
  size_t first = 0;
  while (first < wanted_.size() && find(wanted_[first].key) != nullptr) first++;
  if (first == wanted_.size()) return false;
  // Neighbours in the file, whose places are neighbours too.
  const size_t most = std::min(wanted_.size() - first, static_cast<size_t>(std::max<int64_t>(1, kMostAtOnce / bytes_)));
  size_t run = 1;
  while (run < most && wanted_[first + run].offset == wanted_[first + run - 1].offset + bytes_ &&
         find(wanted_[first + run].key) == nullptr)
    run++;
  size_t free;
  const size_t place = free_places(run, &free);
  if (free == 0) return false;
  run = std::min(run, free);
  for (size_t i = 0; i < run; i++) {
    places_[place + i].state = State::reading;
    places_[place + i].part = wanted_[first + i];
  }
  const StagedPart& last = wanted_[first + run - 1];
  const int64_t offset = wanted_[first].offset, needed = last.offset + last.bytes - offset;
  *job = ReadJob{&file_, offset, page_up(needed), needed, memory_of(place), place};
  return true;
}

size_t Staging::free_places(size_t most, size_t* count) const {
  size_t best = 0;
  *count = 0;
  for (size_t at = 0, run = 0; at < places_.size() && *count < most; at++) {
    run = places_[at].state == State::free ? run + 1 : 0;
    if (run <= *count) continue;
    best = at + 1 - run;
    *count = run;
  }
  return best;
}

void Staging::finished(const ReadJob& job, const IoFailure* failure) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const size_t first = static_cast<size_t>(job.tag), run = static_cast<size_t>((job.bytes + bytes_ - 1) / bytes_);
    for (size_t i = first; i < first + run; i++) {
      Place& place = places_[i];
      place.state = failure == nullptr ? State::ready : State::failed;
      if (failure != nullptr) place.failure = *failure;
      // Nobody wants it any more: its place is for others.
      if (is_wanted(place.part.key)) continue;
      place.state = State::free;
      reader_.kick();
    }
  }
  changed_.notify_one();
}

}  // namespace hw
