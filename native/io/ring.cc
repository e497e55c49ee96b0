#include "ring.h"
#include "liveness.h"

#include <algorithm>
#include <chrono>

namespace hw {

namespace {

typedef std::chrono::steady_clock Clock;

int64_t nanoseconds_since(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

// How long a raised cancel flag may go unnoticed.
constexpr std::chrono::milliseconds kPoll(20);

}  // namespace

Status Ring::open(int64_t bytes, const std::vector<Tile>& program) {
  if (program.empty()) return bad_argument("a ring needs tiles");
  program_ = program;
  int64_t largest = 0;
  for (size_t i = 0; i < program.size(); i++) {
    const Tile& tile = program[i];
    const Weight& w = *tile.weight;
    bool first = i == 0 || program[i - 1].weight != tile.weight;
    bool last = i + 1 == program.size() || program[i + 1].weight != tile.weight;
    if (w.extent(0, 0).file == nullptr || w.experts != 1 || tile.from < 0 || tile.to <= tile.from ||
        tile.to > w.segment_end(tile.from) ||
        (!first && tile.from != program[i - 1].to) || (last && tile.to != w.slices.count) ||
        (first && source_of(tile.weight) != nullptr)) {
      return bad_argument("tile %zu, slices %lld to %lld of %lld, does not follow", i,
                          static_cast<long long>(tile.from), static_cast<long long>(tile.to),
                          static_cast<long long>(w.slices.count));
    }
    largest = std::max(largest, tile_bytes(tile));
    if (first) {
      sources_.emplace_back(new Source);
      sources_.back()->ring = this;
      sources_.back()->weight = tile.weight;
      sources_.back()->first = i;
    }
    sources_.back()->end = i + 1;
  }
  bytes = page_down(bytes);
  // With one tile held, the next must find contiguous room wherever the first lies.
  if (bytes < 4 * largest) {
    return fail("MEMORY_BUDGET", "a ring of %lld bytes cannot hold 4 tiles of %lld", static_cast<long long>(bytes),
                static_cast<long long>(largest));
  }
  if (!memory_.allocate(bytes))
    return fail("MEMORY_BUDGET", "no memory for a ring of %lld bytes", static_cast<long long>(bytes));
  bytes_ = memory_.bytes();
  least_bytes_ = 4 * largest;
  return done();
}

Status Ring::shrink() {
  std::unique_lock<std::mutex> lock(mutex_);
  if (bytes_ <= least_bytes_) return done();
  bool started = started_;
  started_ = false;  // nothing more is taken
  if (!entries_.empty()) next_tile_ = entries_.front().tile;
  drop_before(entries_.size());
  while (!entries_.empty()) {
    const int32_t* flag = *cancel_flag_;
    if (flag != nullptr && __atomic_load_n(flag, __ATOMIC_RELAXED) != 0) {
      started_ = started;
      return fail("CANCELLED", "stopped by the caller");
    }
    DiskWait reading;
    changed_.wait_for(lock, kPoll);
  }
  bytes_ = least_bytes_;
  memory_.give_back(bytes_);
  started_ = started;
  reader_.kick();
  return done();
}

void Ring::start() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    started_ = true;
  }
  reader_.kick();
}

WeightSource* Ring::source_of(const Weight* weight) {
  for (const std::unique_ptr<Source>& source : sources_) {
    if (source->weight == weight) return source.get();
  }
  return nullptr;
}

RingStats Ring::stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return stats_;
}

Status Ring::Source::next(int64_t expert, int64_t slice, Piece* out) {
  if (expert != 0) return fail("INTERNAL", "experts do not come through the ring");
  return ring->next(*this, slice, out);
}
void Ring::Source::release(const Piece& piece) { ring->release(piece); }

ReadJob Ring::read_of(const Tile& tile, int32_t plane) {
  const Weight& w = *tile.weight;
  const int64_t bytes = (tile.to - tile.from) * w.slices.plane_bytes[plane];
  return widened(w.extent(plane, 0, tile.from).file, w.file_offset(plane, 0, tile.from), bytes, nullptr, 0);
}

int64_t Ring::tile_bytes(const Tile& tile) {
  int64_t bytes = 0;
  for (int32_t p = 0; p < tile.weight->layout->cut; p++) bytes += read_of(tile, p).bytes;
  return bytes;
}

ReadJob Ring::job_of(const Entry& entry, int32_t plane) const {
  const Tile& tile = program_[entry.tile];
  ReadJob job = read_of(tile, plane);
  job.memory = memory_of(entry);
  for (int32_t p = 0; p < plane; p++) job.memory += read_of(tile, p).bytes;
  job.tag = entry.id;
  return job;
}

Piece Ring::piece_of(const Entry& entry) const {
  const Tile& tile = program_[entry.tile];
  const Weight& w = *tile.weight;
  Piece piece = {{}, tile.from, tile.to};
  for (int32_t p = 0; p < w.layout->planes; p++) {
    const bool cut = p < w.layout->cut;
    piece.plane[p] = cut ? job_of(entry, p).memory + w.file_offset(p, 0, tile.from) % kPage : w.extent(p, 0).base;
  }
  return piece;
}

// Room behind the newest entry; tiles do not wrap around the end of the memory.
bool Ring::place(int64_t bytes, int64_t* start, int64_t* end) const {
  int64_t size = bytes_;
  int64_t head = entries_.empty() ? 0 : entries_.back().end, tail = entries_.empty() ? 0 : entries_.front().start;
  if (head % size + bytes > size) head += size - head % size;
  *start = head;
  *end = head + bytes;
  return *end - tail <= size;
}

bool Ring::take(ReadJob* job) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!started_) return false;
  if (!entries_.empty()) {
    // What is left of the newest tile.
    Entry& entry = entries_.back();
    if (!entry.dropped && entry.failure == nullptr && entry.taken < program_[entry.tile].weight->layout->cut) {
      *job = job_of(entry, entry.taken++);
      return true;
    }
  }
  const Tile& tile = program_[next_tile_];
  int64_t start, end;
  if (!place(tile_bytes(tile), &start, &end)) return false;
  entries_.push_back(Entry{next_tile_, start, end, next_id_++, State::reading, false, 1, 0, nullptr});
  *job = job_of(entries_.back(), 0);
  next_tile_ = next_tile_ + 1 < program_.size() ? next_tile_ + 1 : 0;
  return true;
}

Ring::Entry* Ring::find(uint64_t id) {
  // Ids ascend by one, entries leave from the front.
  if (entries_.empty() || id < entries_.front().id || id > entries_.back().id) return nullptr;
  return &entries_[static_cast<size_t>(id - entries_.front().id)];
}

void Ring::finished(const ReadJob& job, const IoFailure* failure) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    Entry* entry = find(job.tag);
    if (entry == nullptr) return;
    entry->finished++;
    if (failure != nullptr && entry->failure == nullptr) entry->failure = std::make_shared<IoFailure>(*failure);
    if (entry->finished == entry->taken) {
      if (entry->failure != nullptr) {
        entry->state = State::failed;
      } else if (entry->taken == program_[entry->tile].weight->layout->cut) {
        entry->state = State::ready;
      }
    }
    free_oldest();
  }
  changed_.notify_one();
}

// Entries leave in order. What is still being read has to stay: the disk writes into its memory.
void Ring::free_oldest() {
  bool freed = false;
  while (!entries_.empty() && entries_.front().dropped && entries_.front().finished == entries_.front().taken) {
    entries_.pop_front();
    freed = true;
  }
  if (freed) reader_.kick();
}

void Ring::drop_before(size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (entries_[i].state != State::held) entries_[i].dropped = true;
  }
  free_oldest();
}

Status Ring::next(const Source& source, int64_t slice, Piece* out) {
  // The tile that begins at the slice.
  size_t low = source.first, high = source.end;
  while (high - low > 1) {
    size_t middle = (low + high) / 2;
    if (program_[middle].from <= slice) {
      low = middle;
    } else {
      high = middle;
    }
  }
  if (program_[low].from != slice)
    return fail("INTERNAL", "no tile begins at slice %lld", static_cast<long long>(slice));

  std::unique_lock<std::mutex> lock(mutex_);
  auto wanted = [&] {
    return std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
      return entry.tile == low && !entry.dropped && entry.state != State::held;
    });
  };
  Clock::time_point began;
  bool waited = false;
  for (;;) {
    auto entry = wanted();
    if (entry == entries_.end()) {
      drop_before(entries_.size());
      if (next_tile_ != low || !started_) {
        next_tile_ = low;
        started_ = true;
      }
      reader_.kick();
    } else if (entry->state != State::reading) {
      if (waited) stats_.stall_ns += nanoseconds_since(began);
      uint64_t id = entry->id;
      if (entry->state == State::failed) {
        std::shared_ptr<IoFailure> failure = entry->failure;
        drop_before(entries_.size());
        next_tile_ = low;  // another request may have more luck
        started_ = false;
        return failure->raise();
      }
      entry->state = State::held;
      *out = piece_of(*entry);
      stats_.tiles++;
      drop_before(static_cast<size_t>(id - entries_.front().id));
      return done();
    }
    const int32_t* flag = *cancel_flag_;
    if (flag != nullptr && __atomic_load_n(flag, __ATOMIC_RELAXED) != 0) {
      if (waited) stats_.stall_ns += nanoseconds_since(began);
      return fail("CANCELLED", "stopped by the caller");
    }
    if (!waited) began = Clock::now();
    waited = true;
    DiskWait reading;
    changed_.wait_for(lock, kPoll);
  }
}

void Ring::release(const Piece& piece) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (Entry& entry : entries_) {
    const Tile& tile = program_[entry.tile];
    if (entry.state != State::held || tile.from != piece.from || tile.to != piece.to ||
        piece_of(entry).plane[0] != piece.plane[0]) {
      continue;
    }
    entry.state = State::ready;
    entry.dropped = true;
    break;
  }
  free_oldest();
}

}  // namespace hw
