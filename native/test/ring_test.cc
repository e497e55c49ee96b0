// The streaming ring and the expert slots: the slices that come are those of the file whatever the consumer does (whole
// passes, cancelled ones, jumps, failures), in a ring of four small tiles too.
#include "io_files.h"

#include <errno.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>

#include "../io/ring.h"
#include "../io/slots.h"

using namespace io_test;

namespace {

const int32_t* no_flag = nullptr;
const hw::Layout* const kRows64 = hw::layout_named("packed4_g64_asym");
const hw::Layout* const kInputs64 = hw::layout_named("gptq4_g64_v2");

struct Model {
  std::vector<std::unique_ptr<hw::Weight>> weights;
  hw::DataFile file;
  int64_t end = 0;

  hw::Weight* add(int64_t rows, int64_t row_bytes, int64_t experts = 1) {
    return add(hw::layout_of(hw::F32), rows, row_bytes / 4, experts, false);
  }
  // Planes one after the other; scattered: so are their experts.
  hw::Weight* add(const hw::Layout* layout, int64_t rows, int64_t cols, int64_t experts, bool scattered) {
    hw::Weight* w = new hw::Weight;
    check(w->shape(layout, rows, cols, experts), "a shape");
    for (int32_t p = 0; p < w->layout->planes; p++) {
      for (int64_t e = 0; e < (scattered ? experts : 1); e++) {
        hw::PlaneExtent extent;
        extent.file = &file;
        extent.offset = end + 96;  // nothing begins at a page
        w->planes[p].extents.push_back(extent);
        end = extent.offset + w->plane_bytes(p) * (scattered ? 1 : experts);
      }
    }
    weights.emplace_back(w);
    return w;
  }
};

// Tiles of at most `most` bytes for slices from `pinned` on.
void tiles_of(const hw::Weight* w, int64_t pinned, int64_t most, std::vector<hw::Tile>* out) {
  int64_t step = most / w->slices.bytes;
  for (int64_t s = pinned; s < w->slices.count; s += step)
    out->push_back(hw::Tile{w, s, std::min(s + step, w->slices.count)});
}

struct RingModel : Model {
  std::vector<hw::Tile> program;
  std::vector<int64_t> pinned;
  std::unique_ptr<TestFile> source;
  std::unique_ptr<hw::Reader> reader;
  std::unique_ptr<hw::Ring> ring;

  RingModel(hw::IoEngine engine, int depth, int64_t ring_bytes, const int32_t* const* flag) {
    const int64_t shapes[][3] = {{700, 1000, 13}, {64, 4096, 0}, {5, 200000, 1}, {3000, 340, 2999}, {90, 8200, 17}};
    for (auto& shape : shapes) add(shape[0], shape[1]);
    for (size_t i = 0; i < weights.size(); i++) pinned.push_back(shapes[i][2]);
    // Three planes, in the order of rows (by eights) and of inputs (by 64).
    add(kRows64, 800, 512, 1, false);
    pinned.push_back(3);
    add(kInputs64, 720, 1024, 1, false);
    pinned.push_back(0);
    for (size_t i = 0; i < weights.size(); i++) tiles_of(weights[i].get(), pinned[i], i < 5 ? 250000 : 60000, &program);
    source.reset(new TestFile(end));  // the last row ends the file
    check(file.open(source->path.c_str(), hw::IoMode::direct).ok, "open");
    reader.reset(hw::Reader::open(engine, depth));
    ring.reset(new hw::Ring(*reader, flag));
    check(ring->open(ring_bytes, program).ok, "ring");
    reader->add(ring.get());
    ring->start();
  }
  ~RingModel() { reader.reset(); }

  // Slices of weight i from `slice` on, at most `pieces` pieces. Holds a piece until the next has come.
  hw::Status read(size_t i, int64_t slice, int64_t pieces) {
    const hw::Weight& w = *weights[i];
    hw::WeightSource* from = ring->source_of(&w);
    hw::Piece held = {};
    hw::Status status = hw::done();
    for (; slice < w.slices.count && pieces > 0; pieces--) {
      hw::Piece piece;
      status = from->next(0, slice, &piece);
      if (held.to > 0) from->release(held);
      held.to = 0;
      if (!status.ok) break;
      check(piece.from == slice && piece.to > slice, "slices in order", slice);
      for (int32_t p = 0; p < w.layout->planes; p++) {
        int64_t bytes = (piece.to - piece.from) * w.slices.plane_bytes[p];
        check(same(piece.plane[p], w.file_offset(p, 0, piece.from), bytes), "slices of the file", slice);
      }
      held = piece;
      slice = piece.to;
    }
    if (held.to > 0) from->release(held);
    return status;
  }
  void pass() {
    for (size_t i = 0; i < weights.size(); i++) check(read(i, pinned[i], 1000).ok, "a pass");
  }
};

void whole_and_broken_passes() {
  for (hw::IoEngine engine : {hw::IoEngine::uring, hw::IoEngine::threads}) {
    for (int64_t ring_bytes : {int64_t{1} << 20, int64_t{3} << 20, int64_t{64} << 20}) {
      RingModel m(engine, 5, ring_bytes, &no_flag);
      for (int pass = 0; pass < 3; pass++) m.pass();
      uint64_t random = 1;
      for (int i = 0; i < 200; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t weight = (random >> 33) % m.weights.size();
        check(m.read(weight, m.pinned[weight], static_cast<int64_t>((random >> 50) % 5)).ok, "any order");
      }
      m.pass();
      m.pass();
      check(m.ring->stats().tiles > 0, "tiles counted");
      int64_t whole = m.ring->bytes();
      check(m.read(1, m.pinned[1], 1).ok && m.ring->shrink().ok && m.ring->bytes() <= whole, "a smaller ring");
      check(m.ring->bytes() == m.ring->memory().bytes() && (ring_bytes < 64 << 20 || m.ring->bytes() < whole),
            "memory is given back");
      m.pass();
      check(m.ring->shrink().ok, "it is small already");
      m.pass();
      hw::Piece piece;
      check(failed_with(m.ring->source_of(m.weights[0].get())->next(0, 14, &piece), "INTERNAL"),
            "no tile begins there");
    }
  }
}

std::atomic<int64_t> bad_offset{-1};
int refuse_offset(const hw::ReadJob& job) {
  return job.offset <= bad_offset && bad_offset < job.offset + job.bytes ? EIO : 0;
}
std::atomic<bool> blocked{false};
int block(const hw::ReadJob&) {
  while (blocked.load()) test_system::sleep_microseconds(1000);
  return 0;
}

void failures_and_cancelling() {
  for (hw::IoEngine engine : {hw::IoEngine::uring, hw::IoEngine::threads}) {
    int32_t raised = 0;
    const int32_t* flag = &raised;
    RingModel m(engine, 3, 1 << 20, &flag);
    bad_offset = m.weights[3]->file_offset(0, 0, 2999);
    hw::set_read_fault(refuse_offset);
    for (int i = 0; i < 2; i++) {
      m.read(0, m.pinned[0], 1000).ok ? void() : check(false, "tiles before the bad one");
      check(m.read(1, m.pinned[1], 1000).ok && m.read(2, m.pinned[2], 1000).ok, "tiles before the bad one");
      check(failed_with(m.read(3, m.pinned[3], 1000), "FILE_IO", "offset"), "a bad tile");
    }
    hw::set_read_fault(nullptr);
    m.pass();

    check(m.read(0, m.pinned[0], 1).ok, "the first tile");
    blocked = true;
    hw::set_read_fault(block);
    // Too far ahead to be in the ring already.
    raised = 1;
    check(failed_with(m.read(4, m.pinned[4], 1000), "CANCELLED"), "cancelled while waiting");
    raised = 0;
    blocked = false;
    m.pass();
    hw::set_read_fault(nullptr);

    // Two passes: what had been read ahead is still good.
    check(test_system::truncate_file(m.source->path, m.weights[2]->file_offset(0, 0, 0) + 1000), "truncate");
    hw::Status status = hw::done();
    for (size_t i = 0; i < 2 * m.weights.size() && status.ok; i++) {
      status = m.read(i % m.weights.size(), m.pinned[i % m.weights.size()], 1000);
    }
    check(failed_with(status, "MODEL_CHANGED"), "a file that shrank");
  }
}

void refusals() {
  Model m;
  hw::Weight* w = m.add(100, 4000);
  hw::Weight* unused = m.add(10, 4000);
  std::unique_ptr<hw::Reader> reader(hw::Reader::open(hw::IoEngine::automatic, 1));
  auto open = [&](int64_t bytes, const std::vector<hw::Tile>& program) {
    hw::Ring ring(*reader, &no_flag);
    return ring.open(bytes, program);
  };
  check(failed_with(open(1 << 20, {}), "NATIVE_ARGUMENT"), "no tiles");
  check(failed_with(open(1 << 20, {{w, 0, 50}, {w, 51, 100}}), "NATIVE_ARGUMENT"), "a gap");
  check(failed_with(open(1 << 20, {{w, 0, 50}, {w, 50, 99}}), "NATIVE_ARGUMENT"), "a missing end");
  check(failed_with(open(1 << 20, {{w, 0, 100}, {unused, 0, 10}, {w, 0, 100}}), "NATIVE_ARGUMENT"), "twice");
  check(failed_with(open(1 << 20, {{w, 0, 100}}), "MEMORY_BUDGET"), "4 tiles do not fit");
}

// Hands a feed on to the reader and knows when there is nothing left to read: by events, not by a wait, since a reader
// thread of a busy machine may sleep for any time.
struct Watched : hw::Feed {
  hw::Feed* inner = nullptr;
  std::atomic<int64_t> flying{0}, asked_in_vain{0};

  bool take(hw::ReadJob* job) override {  // one call at a time
    bool got = inner->take(job);
    if (got) {
      flying++;
    } else if (flying == 0) {
      asked_in_vain++;
    }
    return got;
  }
  void finished(const hw::ReadJob& job, const hw::IoFailure* failure) override {
    inner->finished(job, failure);
    flying--;
  }
};

// As plans have it: half-life, least share of right guesses, its average; where to look, rows that evict, slots for a
// guess.
constexpr hw::SlotPolicy policy = {64, 0.5f, 1.0f / 64, 8, 256, 16, 4, 0};
constexpr hw::SlotPolicy fills = {64, 0.5f, 1.0f / 64, 8, 256, 16, 4, 2};

struct SlotModel : Model {
  static constexpr int kExperts = 12, kGroups = 3;
  std::vector<std::vector<const hw::Weight*>> groups;
  std::unique_ptr<TestFile> source;
  Watched watched;
  std::unique_ptr<hw::Reader> reader;
  std::unique_ptr<hw::ExpertSlots> slots;
  uint64_t pass = 0;

  SlotModel(hw::IoEngine engine, int32_t slots_a, int32_t slots_b, int64_t staging,
            const hw::SlotPolicy& policy = ::policy, const std::vector<float>& uses = {}) {
    for (int g = 0; g < kGroups; g++) {
      int64_t row = g == 2 ? 720 : 500;
      if (g < 2) groups.push_back({add(40, row, kExperts), add(40, row, kExperts), add(25, 812, kExperts)});
      // Two matrices, of three planes and of one.
      else groups.push_back({add(kInputs64, 64, 448, kExperts, true), add(40, row, kExperts)});
    }
    source.reset(new TestFile(end));
    check(file.open(source->path.c_str(), hw::IoMode::direct).ok, "open");
    reader.reset(hw::Reader::open(engine, 4));
    slots.reset(new hw::ExpertSlots(*reader, &no_flag, policy));
    const hw::Slice<const float> known = {uses.data(), static_cast<int64_t>(uses.size())};
    check(slots->open(groups, {{slots_a, {0, 1}}, {slots_b, {2}}}, staging, known).ok, "slots");
    watched.inner = slots.get();
    reader->add(&watched);
    reader->add(&slots->filling(), hw::Urgency::idle);
  }
  ~SlotModel() { reader.reset(); }

  // Waits until nothing more is filled.  @returns bytes
  int64_t settled() const {
    for (int64_t before = -1;; std::this_thread::sleep_for(std::chrono::milliseconds(100))) {
      const int64_t now = slots->stats().filled_bytes;
      if (now == before && now > 0) return now;
      before = now;
    }
  }

  // Experts of a layer; true when each came once with its bytes.
  hw::Status layer(int32_t group, const std::vector<int32_t>& experts, bool evict, bool stop_early = false) {
    std::vector<hw::ExpertSlots::Wanted> wanted, ready;
    for (int32_t e : experts) wanted.push_back({e, 1 + e % 3, {}});
    slots->begin(group, wanted, pass, evict);
    std::vector<int> seen(kExperts, 0);
    hw::Status status = hw::done();
    for (;;) {
      status = slots->next(&ready);
      if (!status.ok || ready.empty()) break;
      for (auto& r : ready) {
        seen[static_cast<size_t>(r.expert)]++;
        int32_t segment = 0;
        for (const hw::Weight* w : groups[static_cast<size_t>(group)]) {
          for (int32_t p = 0; p < w->layout->planes; p++) {
            check(same(r.segments[segment++], w->file_offset(p, r.expert, 0), w->plane_bytes(p)), "an expert's bytes",
                  r.expert);
          }
        }
      }
      slots->release(ready);
      if (stop_early) break;
    }
    slots->end();
    if (status.ok && !stop_early) {
      for (int32_t e : experts) check(seen[static_cast<size_t>(e)] == 1, "every expert once", e);
    }
    return status;
  }
};

void free_slots_fill() {
  for (hw::IoEngine engine : {hw::IoEngine::uring, hw::IoEngine::threads}) {
    {
      // Two layers share six slots: the first three experts of each. The third layer has three of its own.
      SlotModel m(engine, 6, 3, 0, fills);
      m.settled();
      for (int group = 0; group < 3; group++) check(m.layer(group, {0, 1, 2}, true).ok, "filled ones", group);
      check(m.slots->stats().hits == 9 && m.slots->stats().misses == 0, "all are hits", m.slots->stats().misses);
      check(m.layer(0, {5}, true).ok && m.slots->stats().misses == 1, "a miss finds room");
    }
    {
      // What earlier passes asked for most; what nobody uses goes in the other order.
      std::vector<float> uses(SlotModel::kExperts * SlotModel::kGroups, 0.01f);
      const int32_t best[] = {7, 2, 11};
      for (int i = 0; i < 3; i++) uses[static_cast<size_t>(best[i])] = 0.9f - 0.1f * static_cast<float>(i);
      uses[SlotModel::kExperts + 4] = 0.5f;
      SlotModel m(engine, 4, 1, 0, fills, uses);
      m.settled();
      check(m.layer(1, {9}, true).ok && m.layer(1, {4}, true).ok && m.slots->stats().misses == 2, "the last has gone");
      check(m.layer(0, {11}, true).ok && m.slots->stats().misses == 3, "then the one before it");
      check(m.layer(0, {7}, true).ok && m.slots->stats().hits == 1, "the first stays");
      std::vector<float> asked(uses.size());
      const hw::Slice<float> out = {asked.data(), static_cast<int64_t>(asked.size())};
      check(m.slots->asked(out).value == 1 && asked[7] == 1 && asked[11] == 1 && asked[2] == 0, "one pass asked");
      check(asked[SlotModel::kExperts + 9] == 1 && asked[SlotModel::kExperts + 4] == 1, "of each layer");
    }
    // Wanted while they are being filled, in passes of all kinds: every expert once, with its bytes.
    for (int round = 0; round < 20; round++) {
      SlotModel m(engine, 10, 5, round % 2 == 0 ? 0 : 200000, fills);
      for (int i = 0; i < 12; i++) {
        m.pass++;
        const int32_t a = (i * 5 + round) % 12, b = (i * 7 + 1) % 12;
        if (a != b) check(m.layer(i % 3, {a, b}, i % 4 != 3, i % 5 == 4).ok, "while it fills", i);
        const int32_t guess[] = {(a + 1) % 12, b};
        m.slots->expect((i + 1) % 3, guess, 1, 2);
      }
    }
    {
      // A disk that fails ends filling; a miss is told.
      hw::set_read_fault([](const hw::ReadJob&) { return 5; });
      SlotModel m(engine, 6, 3, 0, fills);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      check(!m.layer(0, {0}, true).ok, "a miss fails");
      hw::set_read_fault(nullptr);
      check(m.layer(0, {0, 4}, true).ok, "and works again");
    }
  }
}

const std::vector<int32_t> kAll = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

void experts_come_from_slots() {
  for (hw::IoEngine engine : {hw::IoEngine::uring, hw::IoEngine::threads}) {
    SlotModel m(engine, 6, 3, 0);
    check(m.layer(0, {3, 5}, true).ok && m.slots->stats().misses == 2, "cold");
    check(m.layer(0, {5, 3}, true).ok && m.slots->stats().hits == 2, "warm");
    check(m.layer(1, {3, 5, 7, 9}, true).ok && m.layer(0, {3, 5}, true).ok && m.slots->stats().hits == 4,
          "all six fit");
    check(m.layer(1, {0}, true).ok && m.layer(1, {3}, true).ok, "the oldest goes");
    check(m.slots->stats().hits == 4, "expert 3 of layer 1 was the oldest", m.slots->stats().hits);
    check(m.layer(2, kAll, true).ok, "more experts than slots");
    m.layer(0, {1, 2, 4}, true, true).ok ? void() : check(false, "a call that is left early");
    for (int i = 0; i < 100; i++) {
      m.pass++;
      int32_t a = (i * 5) % 12, b = (i * 7 + 1) % 12;
      if (a != b) check(m.layer(i % 3, {a, b}, true, i % 9 == 8).ok, "many calls", i);
    }
  }
}

void prefill_does_not_evict() {
  SlotModel m(hw::IoEngine::automatic, 4, 2, 200 * 1024);
  check(m.layer(0, {3, 5}, true).ok && m.layer(1, {0, 1}, true).ok, "four slots in use");
  for (int i = 0; i < 3; i++) check(m.layer(0, kAll, false).ok && m.layer(1, kAll, false).ok, "all experts");
  int64_t misses = m.slots->stats().misses;
  check(m.layer(0, {3, 5}, true).ok && m.layer(1, {0, 1}, true).ok, "again");
  check(m.slots->stats().misses == misses, "they are still there", m.slots->stats().misses - misses);
  check(m.layer(2, kAll, false).ok, "free slots are filled by what many rows want");
  misses = m.slots->stats().misses;
  check(m.layer(2, {2, 5}, true).ok && m.slots->stats().misses == misses, "experts 2 and 5 had most rows");
}

// Waits until the reader has nothing left to do. The first vain question may be older than what it was to read.
void settle(SlotModel& m) {
  int64_t before = m.watched.asked_in_vain;
  for (int ms = 0; m.watched.asked_in_vain < before + 2; ms++) {
    if (ms == 120000) return check(false, "the reader comes to rest");
    m.reader->kick();
    test_system::sleep_microseconds(1000);
  }
}

void guesses_are_read_ahead() {
  for (hw::IoEngine engine : {hw::IoEngine::uring, hw::IoEngine::threads}) {
    SlotModel m(engine, 16, 3, 0);
    const int32_t right[] = {4, 2}, wrong[] = {9, 10};
    m.slots->expect(0, right, 1, 2);
    settle(m);
    int64_t read = m.reader->bytes_read();
    check(read > 0, "a guess is read before its layer begins");
    check(m.layer(0, {2, 4}, true).ok && m.reader->bytes_read() == read, "and not again");
    hw::SlotStats stats = m.slots->stats();
    check(stats.hits == 0 && stats.misses == 2 && stats.ahead == 2 && stats.wasted == 0, "a miss all the same");
    check(m.layer(0, {2, 4}, true).ok && m.slots->stats().hits == 2, "a hit from then on");

    // A guess made before its predecessor begins waits for that.
    m.slots->expect(0, right, 1, 2);
    m.slots->expect(1, wrong, 1, 2);
    check(m.layer(0, {2, 4}, true).ok, "the layer before");
    settle(m);
    check(m.layer(1, {3}, true).ok && m.slots->stats().wasted == 2, "wrong ones", m.slots->stats().wasted);
    check(m.layer(0, {0, 1, 3, 5, 6, 7, 8, 9, 10, 11, 2, 4}, true).ok, "twelve");
    int64_t hits = m.slots->stats().hits;
    check(m.layer(1, {3}, true).ok && m.slots->stats().hits == hits + 1, "wrong ones were the first to go");

    // Six slots are too few for guesses; those found are kept all the same, and a miss takes them when it must.
    SlotModel few(engine, 6, 1, 0);
    check(few.layer(0, {0, 1, 2, 3, 4, 5}, true).ok, "full");
    const int32_t six[] = {0, 1, 2, 3, 4, 5};
    few.slots->expect(0, six, 2, 3);
    read = few.reader->bytes_read();
    settle(few);
    check(few.reader->bytes_read() == read, "nothing is read ahead");
    check(few.layer(1, {6, 7, 8}, true).ok && few.layer(0, {0, 1}, true).ok, "a miss finds room");

    // Whatever is guessed, what comes is what was asked for.
    for (int i = 0; i < 300; i++) {
      m.pass++;
      int32_t a = (i * 5) % 12, b = (i * 7 + 1) % 12, c = (i * 11 + 3) % 12;
      const int32_t guess[] = {a, i % 2 == 0 ? b : c};
      m.slots->expect((i + 1) % 3, guess, 1, 2);
      if (i % 7 == 0) test_system::sleep_microseconds(300);
      if (a != b) check(m.layer(i % 3, {a, b}, i % 5 != 4, i % 9 == 8).ok, "many guesses", i);
    }
    // Nothing true for that long: no rank is trusted any more.
    int64_t wasted = m.slots->stats().wasted;
    for (int i = 0; i < 200; i++) {
      m.slots->expect(0, wrong, 1, 2);
      check(m.layer(0, {1}, true).ok, "never right");
    }
    settle(m);
    read = m.slots->stats().wasted;
    m.slots->expect(0, wrong, 1, 2);
    check(m.layer(0, {1}, true).ok && m.slots->stats().wasted == read && read - wasted < 200, "given up",
          read - wasted);
  }
}

void a_failed_expert() {
  SlotModel m(hw::IoEngine::automatic, 4, 2, 0);
  bad_offset = m.groups[0][2]->file_offset(0, 7, 0) + 5000;
  hw::set_read_fault(refuse_offset);
  check(failed_with(m.layer(0, {1, 7}, true), "FILE_IO"), "a bad expert");
  hw::set_read_fault(nullptr);
  check(m.layer(0, {1, 7}, true).ok, "read again");
  // A guess that cannot be read fails nobody until it is wanted, and then once more.
  SlotModel ahead(hw::IoEngine::automatic, 16, 2, 0);
  bad_offset = ahead.groups[0][2]->file_offset(0, 7, 0) + 5000;
  hw::set_read_fault(refuse_offset);
  const int32_t bad[] = {7};
  ahead.slots->expect(0, bad, 1, 1);
  settle(ahead);
  check(ahead.layer(0, {1, 2}, true).ok, "nobody wanted it");
  ahead.slots->expect(0, bad, 1, 1);
  check(failed_with(ahead.layer(0, {1, 7}, true), "FILE_IO"), "a bad guess that was right");
  hw::set_read_fault(nullptr);
  check(ahead.layer(0, {1, 7}, true).ok, "read after all");
  std::unique_ptr<hw::Reader> reader(hw::Reader::open(hw::IoEngine::automatic, 1));
  hw::ExpertSlots none(*reader, &no_flag, policy);
  check(failed_with(none.open(m.groups, {{0, {0, 1}}, {2, {2}}}, 0, {}), "MEMORY_BUDGET"), "a class without a slot");
  hw::ExpertSlots twice(*reader, &no_flag, policy);
  check(failed_with(twice.open(m.groups, {{2, {0, 1}}, {2, {1}}}, 0, {}), "NATIVE_ARGUMENT"), "a group in two classes");
}

}  // namespace

int main() {
  whole_and_broken_passes();
  failures_and_cancelling();
  refusals();
  experts_come_from_slots();
  free_slots_fill();
  prefill_does_not_evict();
  guesses_are_read_ahead();
  a_failed_expert();
  printf(failures == 0 ? "ring: all passed\n" : "ring: %d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
