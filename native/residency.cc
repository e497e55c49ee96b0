#include "residency.h"

#include <string.h>

#include <algorithm>
#include <atomic>

#include "kernels/packed.h"

namespace hw {

namespace {

Result<Reader*> reader_of(Host& host) {
  Residency& residency = host.residency();
  if (residency.reader == nullptr) residency.reader = host.machine().reader(IoEngine::automatic, Reader::kDefaultDepth);
  if (residency.reader == nullptr) return fail("INTERNAL", "the system refused a thread that reads");
  return residency.reader.get();
}

Result<Weight*> unmapped_weight(Host& host, int32_t handle) {
  HW_GET(WeightObject, object, host, handle);
  const Weight& w = object.weight;
  if (w.resident != 0 || w.source != nullptr || w.slots != nullptr) {
    return bad_argument("the weight has a place already");
  }
  return &object.weight;
}

// Packs `rows` of `experts` matrices that were read to `from`, in place; they begin at the cache line before it then.
uint8_t* pack_in_place(const Weight& w, int64_t experts, int64_t rows, uint8_t* from) {
  const DtypeInfo& info = *w.layout->blocks;
  const int64_t row_bytes = w.slices.bytes;
  uint8_t* const to = from - reinterpret_cast<uintptr_t>(from) % 64;
  const int64_t strip = kStripRows * row_bytes;
  std::vector<uint8_t> copy(static_cast<size_t>(strip));
  uint8_t* next = to;
  for (int64_t expert = 0; expert < experts; expert++) {
    for (int64_t row = 0; row < rows;) {
      const bool whole = rows - row >= kStripRows;
      const int64_t bytes = whole ? strip : (rows - row) * row_bytes;
      if (whole) {
        memcpy(copy.data(), from, static_cast<size_t>(bytes));
        pack_strip(info, copy.data(), row_bytes, w.cols, next);
      } else {
        memmove(next, from, static_cast<size_t>(bytes));
      }
      row += bytes / row_bytes;
      from += bytes;
      next += bytes;
    }
  }
  return to;
}

// What follows on a first segment moves up to it: each lies behind the pages of the one before.
void join_segments(const std::vector<Fill>& fills, const std::vector<PlaneExtent*>& filled) {
  uint8_t* end = nullptr;
  for (size_t i = 0; i < fills.size(); i++) {
    uint8_t* const at = const_cast<uint8_t*>(filled[i]->base);
    if (filled[i]->first == 0) {
      end = at + fills[i].bytes;
      continue;
    }
    memmove(end, at, static_cast<size_t>(fills[i].bytes));
    end += fills[i].bytes;
    filled[i]->base = nullptr;
  }
}

// Over the threads, a matrix each: what it costs is one more walk through the weights.
Status pack_pinned(Host& host, const std::vector<Residency::Pin>& pins) {
  host.pool().parallel_for(static_cast<int64_t>(pins.size()), [&](int64_t i, int) {
    Weight& w = *pins[i].weight;
    if (!pins[i].packed || w.layout->blocks == nullptr || host.kernels().packed[w.dtype()] == nullptr || host.cancelled()) {
      return;
    }
    std::vector<PlaneExtent>& extents = w.planes[0].extents;
    // Segments of a plain matrix lie together by now, at the base of the first.
    const size_t count = w.experts == 1 ? 1 : extents.size();
    const int64_t experts = w.experts / static_cast<int64_t>(count);
    for (size_t e = 0; e < count; e++) {
      extents[e].base = pack_in_place(w, experts, pins[i].slices, const_cast<uint8_t*>(extents[e].base));
    }
    w.packed = true;
  });
  return host.cancelled() ? fail("CANCELLED", "stopped by the caller") : done();
}

}  // namespace

Result<const char*> reader_open(Host& host, int32_t engine, int32_t depth) {
  HW_TRY(host.check_open());
  if (engine < 0 || engine > 2 || depth < 1 || depth > Reader::kMostDepth) {
    return bad_argument("a reader of kind %d with %d reads in flight", engine, depth);
  }
  Residency& residency = host.residency();
  if (residency.reader != nullptr) return bad_argument("there is a reader already");
  residency.reader = host.machine().reader(static_cast<IoEngine>(engine), depth);
  if (residency.reader == nullptr) return fail("INTERNAL", "the system refused a thread that reads");
  return residency.reader->name();
}

Status reader_depth(Host& host, int32_t depth) {
  Reader* reader = host.has_residency() ? host.residency().reader.get() : nullptr;
  if (reader == nullptr || depth < 1 || depth > Reader::kMostDepth) {
    return bad_argument("%d reads in flight", depth);
  }
  reader->set_depth(depth);
  return done();
}

Status weight_pin(Host& host, int32_t handle, int64_t slices, bool packed) {
  HW_TRY(host.check_open());
  Result<Weight*> found = unmapped_weight(host, handle);
  if (!found.ok) return Status{false};
  Weight& w = *found.value;
  if (slices < 1 || slices > w.slices.count || (w.experts > 1 && slices != w.slices.count)) {
    return bad_argument("%lld of %lld slices to pin", static_cast<long long>(slices), static_cast<long long>(w.slices.count));
  }
  Residency& residency = host.residency();
  for (const Residency::Pin& pin : residency.pins) {
    if (pin.weight == &w) return bad_argument("the weight is pinned already");
  }
  residency.pins.push_back(Residency::Pin{&w, slices, packed});
  return done();
}

Status ring_open(Host& host, int64_t bytes, Slice<const int32_t> tiles) {
  HW_TRY(host.check_open());
  Residency& residency = host.residency();
  if (residency.ring != nullptr) return bad_argument("there is a ring already");
  if (tiles.length < 3 || tiles.length % 3 != 0) return bad_argument("tiles are [weight, from, to] each");
  std::vector<Tile> program;
  for (int64_t i = 0; i < tiles.length; i += 3) {
    Weight* w = nullptr;
    if (!program.empty() && tiles.data[i] == tiles.data[i - 3]) {
      w = const_cast<Weight*>(program.back().weight);
    } else {
      Result<Weight*> found = unmapped_weight(host, tiles.data[i]);
      if (!found.ok) return Status{false};
      w = found.value;
    }
    program.push_back(Tile{w, tiles.data[i + 1], tiles.data[i + 2]});
  }
  Result<Reader*> reader = reader_of(host);
  if (!reader.ok) return Status{false};
  std::unique_ptr<Ring> ring(new Ring(*reader.value, host.cancel_flag()));
  ring->memory().charge_to(&host.counters());
  ring->account = &residency.bytes_read;
  HW_TRY(ring->open(bytes, program));
  for (size_t i = 0; i < program.size(); i++) {
    if (i > 0 && program[i].weight == program[i - 1].weight) continue;
    Weight& w = *const_cast<Weight*>(program[i].weight);
    w.source = ring->source_of(&w);
    w.streamed_from = program[i].from;
  }
  residency.ring = std::move(ring);
  return done();
}

Status experts_open(Host& host, Slice<const int32_t> groups, Slice<const int32_t> classes, int64_t staging_bytes) {
  HW_TRY(host.check_open());
  Residency& residency = host.residency();
  if (residency.slots != nullptr) return bad_argument("there are expert slots already");
  std::vector<std::vector<const Weight*>> weights;
  for (int64_t i = 0; i < groups.length;) {
    const int64_t count = groups.data[i++];
    if (count < 1 || count > groups.length - i) return bad_argument("expert groups are [n, n weights] each");
    weights.emplace_back();
    for (int64_t end = i + count; i < end; i++) {
      Result<Weight*> found = unmapped_weight(host, groups.data[i]);
      if (!found.ok) return Status{false};
      weights.back().push_back(found.value);
    }
  }
  std::vector<SlotClassSpec> specs;
  for (int64_t i = 0; i < classes.length;) {
    SlotClassSpec spec;
    spec.slots = classes.data[i++];
    int64_t count = i < classes.length ? classes.data[i++] : -1;
    if (count < 0 || count > classes.length - i) return bad_argument("slot classes are [slots, n, n groups] each");
    spec.groups.assign(classes.data + i, classes.data + i + count);
    i += count;
    specs.push_back(spec);
  }
  if (staging_bytes < 0) return bad_argument("%lld bytes of staging", static_cast<long long>(staging_bytes));
  Result<Reader*> reader = reader_of(host);
  if (!reader.ok) return Status{false};
  std::unique_ptr<ExpertSlots> slots(new ExpertSlots(*reader.value, host.cancel_flag()));
  slots->slot_memory().charge_to(&host.counters());
  slots->staging_memory().charge_to(&host.counters());
  slots->account = &residency.bytes_read;
  HW_TRY(slots->open(weights, specs, staging_bytes));
  for (size_t i = 0; i < weights.size(); i++) {
    int32_t segment = 0;
    for (const Weight* weight : weights[i]) {
      Weight& w = *const_cast<Weight*>(weight);
      w.slots = slots.get();
      w.slot_group = static_cast<int32_t>(i);
      w.slot_segment = segment;
      segment += w.layout->planes;
    }
  }
  residency.slots = std::move(slots);
  return done();
}

Status residency_load(Host& host, bool lock) {
  HW_TRY(host.check_open());
  Residency& residency = host.residency();
  if (residency.loaded) return bad_argument("the weights are loaded already");
  Result<Reader*> reader = reader_of(host);
  if (!reader.ok) return Status{false};

  int64_t bytes = 0;
  std::vector<Fill> fills;
  std::vector<PlaneExtent*> filled;
  for (const Residency::Pin& pin : residency.pins) {
    Weight& w = *pin.weight;
    if (w.slots != nullptr || (w.source == nullptr ? w.slices.count : w.streamed_from) != pin.slices) {
      return bad_argument("%lld pinned slices of %lld and the tiles do not meet", static_cast<long long>(pin.slices),
                          static_cast<long long>(w.slices.count));
    }
    for (int32_t p = 0; p < w.layout->planes; p++) {
      std::vector<PlaneExtent>& extents = w.planes[p].extents;
      for (PlaneExtent& extent : extents) {
        int64_t slices = w.experts / static_cast<int64_t>(extents.size()) * pin.slices;
        if (w.experts == 1) slices = std::min(pin.slices, w.segment_end(extent.first)) - extent.first;
        if (slices <= 0) break;
        fills.push_back(Fill{extent.file, extent.offset, slices * w.slices.plane_bytes[p], nullptr});
        filled.push_back(&extent);
        bytes += page_up(fills.back().offset + fills.back().bytes) - page_down(fills.back().offset);
      }
    }
  }
  for (Object* object : host.objects()) {
    if (object->kind != Kind::weight) continue;
    const Weight& w = static_cast<WeightObject*>(object)->weight;
    if (w.source == nullptr || w.streamed_from == 0) continue;
    bool found = std::any_of(residency.pins.begin(), residency.pins.end(), [&](const Residency::Pin& p) { return p.weight == &w; });
    if (!found) return bad_argument("the tiles of a weight begin at slice %lld", static_cast<long long>(w.streamed_from));
  }
  residency.pinned.charge_to(&host.counters());
  if (!residency.pinned.allocate(bytes)) {
    return fail("MEMORY_BUDGET", "no memory for %lld bytes of weights", static_cast<long long>(bytes));
  }
  uint8_t* at = residency.pinned.data();
  for (Fill& fill : fills) {
    fill.memory = at;
    at += page_up(fill.offset + fill.bytes) - page_down(fill.offset);
  }
  HW_TRY(fill_memory(*reader.value, fills.data(), fills.size(), *host.cancel_flag(), kFillRequest,
                     &residency.bytes_read));
  for (size_t i = 0; i < fills.size(); i++) filled[i]->base = fills[i].memory + fills[i].offset % kPage;
  join_segments(fills, filled);
  for (const Residency::Pin& pin : residency.pins) pin.weight->resident = pin.slices;
  HW_TRY(pack_pinned(host, residency.pins));
  host.counters().bytes[static_cast<int>(Purpose::weights)] += bytes;
  if (lock) {
    residency.pinned.lock();
    if (residency.ring != nullptr) residency.ring->memory().lock();
    if (residency.slots != nullptr) {
      residency.slots->slot_memory().lock();
      residency.slots->staging_memory().lock();
    }
  }
  residency.loaded = true;
  if (residency.slots != nullptr) reader.value->add(residency.slots.get(), Urgency::now);
  if (residency.ring != nullptr) {
    reader.value->add(residency.ring.get());
    residency.ring->start();
  }
  return done();
}

Status residency_shrink(Host& host) {
  if (!host.has_residency() || host.residency().ring == nullptr) return done();
  return host.residency().ring->shrink();
}

Status residency_stats(Host& host, Slice<double> out) {
  constexpr int kCount = 14;
  if (out.length != kCount) return bad_argument("residency statistics are %d numbers", kCount);
  std::fill(out.data, out.data + kCount, 0.0);
  out.data[kCount - 1] = static_cast<double>(host.memory_bytes());
  if (!host.has_residency()) return done();
  Residency& residency = host.residency();
  RingStats ring;
  SlotStats slots;
  int64_t ring_bytes = 0, slot_bytes = 0, staging_bytes = 0, locked = residency.pinned.locked() ? residency.pinned.bytes() : 0;
  auto locked_bytes = [](const PinnedMemory& memory) { return memory.locked() ? memory.bytes() : 0; };
  if (residency.ring != nullptr) {
    ring = residency.ring->stats();
    ring_bytes = residency.ring->memory().bytes();
    locked += locked_bytes(residency.ring->memory());
  }
  if (residency.slots != nullptr) {
    slots = residency.slots->stats();
    slot_bytes = residency.slots->slot_bytes();
    staging_bytes = residency.slots->staging_bytes();
    locked += locked_bytes(residency.slots->slot_memory()) + locked_bytes(residency.slots->staging_memory());
  }
  const int64_t values[kCount - 1] = {
      residency.bytes_read.load(std::memory_order_relaxed),
      ring.stall_ns + slots.stall_ns,
      ring.tiles,
      slots.hits,
      slots.misses,
      slots.bytes,
      residency.pinned.bytes(),
      ring_bytes,
      slot_bytes,
      staging_bytes,
      locked,
      slots.ahead,
      slots.wasted,
  };
  for (int i = 0; i < kCount - 1; i++) out.data[i] = static_cast<double>(values[i]);
  return done();
}

}  // namespace hw
