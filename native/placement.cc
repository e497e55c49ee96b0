// Puts weights where a placement says: all of it is checked and read into memory first, and only then do weights know.
#include <string.h>

#include <algorithm>
#include <unordered_map>

#include "kernels/packed.h"
#include "kernels/units.h"
#include "residency.h"
#include "resources.h"

namespace hw {

namespace {

// Where a weight goes.
struct Spot {
  int64_t pinned = 0;          // leading slices
  int64_t streamed_from = -1;  // the first slice of its tiles
  int32_t group = -1, segment = 0;
};

// A run of a weight's bytes in pinned memory; `base` is where they begin.
struct Held {
  PlaneExtent* extent;
  uint8_t* base;
};

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

class Placing {
 public:
  Placing(Model& model, const Placement& wanted) : model_(model), wanted_(wanted), made_(new Residency) {}

  Result<const char*> run() {
    HW_TRY(open_reader());
    HW_TRY(pin());
    HW_TRY(open_slots());
    HW_TRY(open_ring());
    HW_TRY(fill());
    HW_TRY(pack());
    settle();
    return model_.residency()->reader->name();
  }

 private:
  struct Pin {
    Weight* weight;
    bool packed;
    size_t first, end;  // in held_
  };

  Result<Weight*> unplaced(int32_t handle) {
    HW_GET(WeightObject, object, model_, handle);
    Weight& w = object.weight;
    const auto spot = spots_.find(&w);
    const bool taken = spot != spots_.end() && (spot->second.group >= 0 || spot->second.streamed_from >= 0);
    if (taken || w.resident != 0 || w.source != nullptr || w.slots != nullptr) {
      return bad_argument("the weight has a place already");
    }
    return &w;
  }

  Status open_reader() {
    const Placement& p = wanted_;
    const bool known = p.engine >= 0 && p.engine < static_cast<int32_t>(IoEngine::count);
    if (!known || p.depth < 1 || p.depth > Reader::kMostDepth) {
      return bad_argument("a reader of kind %d with %d reads in flight", p.engine, p.depth);
    }
    made_->reader = model_.machine().reader(static_cast<IoEngine>(p.engine), p.depth);
    return made_->reader != nullptr ? done() : fail("INTERNAL", "the system refused a thread that reads");
  }

  Status pin() {
    const Slice<const int32_t> list = wanted_.pinned;
    if (list.length % 2 != 0) return bad_argument("pinned weights are [weight, slices] each");
    for (int64_t i = 0; i < list.length; i += 2) {
      Result<Weight*> found = unplaced(list.data[i]);
      if (!found.ok) return Status{false};
      Weight& w = *found.value;
      const int64_t slices = list.data[i + 1];
      if (slices < 1 || slices > w.slices.count || (w.experts > 1 && slices != w.slices.count)) {
        return bad_argument("%lld of %lld slices to pin", static_cast<long long>(slices),
                            static_cast<long long>(w.slices.count));
      }
      Spot& spot = spots_[&w];
      if (spot.pinned != 0) return bad_argument("the weight is pinned already");
      spot.pinned = slices;
      pins_.push_back(Pin{&w, false, 0, 0});
    }
    return done();
  }

  Status open_slots() {
    const Slice<const int32_t> groups = wanted_.groups, classes = wanted_.classes;
    if (groups.length == 0 && classes.length == 0) return done();
    std::vector<std::vector<const Weight*>> weights;
    for (int64_t i = 0; i < groups.length;) {
      const int64_t count = groups.data[i++];
      if (count < 1 || count > groups.length - i) return bad_argument("expert groups are [n, n weights] each");
      weights.emplace_back();
      int32_t segment = 0;
      for (int64_t end = i + count; i < end; i++) {
        Result<Weight*> found = unplaced(groups.data[i]);
        if (!found.ok) return Status{false};
        Spot& spot = spots_[found.value];
        if (spot.pinned != 0) return bad_argument("experts in slots and pinned");
        spot.group = static_cast<int32_t>(weights.size()) - 1;
        spot.segment = segment;
        segment += found.value->layout->planes;
        weights.back().push_back(found.value);
      }
    }
    std::vector<SlotClassSpec> specs;
    for (int64_t i = 0; i < classes.length;) {
      SlotClassSpec spec;
      spec.slots = classes.data[i++];
      const int64_t count = i < classes.length ? classes.data[i++] : -1;
      if (count < 0 || count > classes.length - i) return bad_argument("slot classes are [slots, n, n groups] each");
      spec.groups.assign(classes.data + i, classes.data + i + count);
      i += count;
      specs.push_back(spec);
    }
    if (wanted_.staging_bytes < 0) {
      return bad_argument("%lld bytes of staging", static_cast<long long>(wanted_.staging_bytes));
    }
    SlotPolicy policy;
    HW_TRY(read_policy(wanted_.policy, &policy));
    std::unique_ptr<ExpertSlots> slots(new ExpertSlots(*made_->reader, model_.cancel_flag(), policy));
    slots->slot_memory().charge_to(&model_.counters());
    slots->staging_memory().charge_to(&model_.counters());
    slots->account = &made_->bytes_read;
    HW_TRY(slots->open(weights, specs, wanted_.staging_bytes, wanted_.uses));
    made_->slots = std::move(slots);
    return done();
  }

  Status open_ring() {
    const Slice<const int32_t> tiles = wanted_.tiles;
    if (tiles.length % 3 != 0) return bad_argument("tiles are [weight, from, to] each");
    std::vector<Tile> program;
    for (int64_t i = 0; i < tiles.length; i += 3) {
      const bool more = i > 0 && tiles.data[i] == tiles.data[i - 3];
      const Weight* w = more ? program.back().weight : nullptr;
      if (!more) {
        Result<Weight*> found = unplaced(tiles.data[i]);
        if (!found.ok) return Status{false};
        spots_[found.value].streamed_from = tiles.data[i + 1];
        w = found.value;
      }
      program.push_back(Tile{w, tiles.data[i + 1], tiles.data[i + 2]});
    }
    for (const auto& [weight, spot] : spots_) {
      if (spot.group >= 0) continue;
      if (spot.pinned != (spot.streamed_from < 0 ? weight->slices.count : spot.streamed_from)) {
        return bad_argument("%lld pinned slices of %lld and the tiles do not meet", static_cast<long long>(spot.pinned),
                            static_cast<long long>(weight->slices.count));
      }
    }
    if (program.empty()) return done();
    std::unique_ptr<Ring> ring(new Ring(*made_->reader, model_.cancel_flag()));
    ring->memory().charge_to(&model_.counters());
    ring->account = &made_->bytes_read;
    HW_TRY(ring->open(wanted_.ring_bytes, program));
    made_->ring = std::move(ring);
    return done();
  }

  // Pinned memory: leading slices, and planes that every slice needs, each extent with the pages around it.
  Status fill() {
    std::vector<Fill> fills;
    int64_t bytes = 0;
    const auto hold = [&](Weight& w, int32_t plane, int64_t of_expert) {
      std::vector<PlaneExtent>& extents = w.planes[plane].extents;
      const int64_t slice = w.slices.plane_bytes[plane];
      for (PlaneExtent& extent : extents) {
        int64_t size = w.experts / static_cast<int64_t>(extents.size()) * of_expert;
        // Of segments as far as the pinned slices reach.
        if (w.experts == 1 && extents.size() > 1)
          size = std::min(of_expert, w.segment_end(extent.first) * slice) - extent.first * slice;
        if (size <= 0) break;
        fills.push_back(Fill{extent.file, extent.offset, size, nullptr});
        held_.push_back(Held{&extent, nullptr});
        bytes += page_up(extent.offset + size) - page_down(extent.offset);
      }
    };
    for (Pin& pin : pins_) {
      Weight& w = *pin.weight;
      pin.first = held_.size();
      for (int32_t p = 0; p < w.layout->cut; p++) hold(w, p, spots_[&w].pinned * w.slices.plane_bytes[p]);
      pin.end = held_.size();
    }
    for (const auto& [weight, spot] : spots_) {
      if (spot.group >= 0) continue;  // slots hold them with the rest of an expert
      for (int32_t p = weight->layout->cut; p < weight->layout->planes; p++) {
        hold(*weight, p, weight->slices.whole_bytes[p]);
      }
    }
    PinnedMemory& memory = made_->pinned;
    memory.charge_to(&model_.counters());
    if (!memory.allocate(bytes)) {
      return fail("MEMORY_BUDGET", "no memory for %lld bytes of weights", static_cast<long long>(bytes));
    }
    uint8_t* at = memory.data();
    for (size_t i = 0; i < fills.size(); i++) {
      Fill& fill = fills[i];
      fill.memory = at;
      held_[i].base = at + fill.offset % kPage;
      at += page_up(fill.offset + fill.bytes) - page_down(fill.offset);
    }
    if (model_.machine().nodes() > 0) place_on_nodes(fills);
    HW_TRY(fill_memory(*made_->reader, fills.data(), fills.size(), *model_.cancel_flag(), kFillRequest,
                       &made_->bytes_read));
    join_segments(fills);
    return check_indices();
  }

  // Rows go to the node whose threads multiply with them; what all threads read is dealt out in stripes.
  void place_on_nodes(const std::vector<Fill>& fills) {
    constexpr int64_t kStripe = 2 << 20;  // a huge page
    const int nodes = model_.machine().nodes();
    std::vector<NodeBytes> ranges;
    for (const Pin& pin : pins_) {
      const Weight& w = *pin.weight;
      if (w.layout->by_inputs || w.planes[0].extents.size() > 1) continue;
      for (size_t i = pin.first; i < pin.end; i++) {
        const int32_t plane = static_cast<int32_t>(i - pin.first);
        const int64_t slices = spots_[pin.weight].pinned, rows = slices * w.slices.step;
        const int64_t slice_bytes = w.slices.plane_bytes[plane];
        for (int64_t expert = 0; expert < w.experts; expert++) {
          uint8_t* const base = held_[i].base + expert * slices * slice_bytes;
          for (int node = 0; node < nodes; node++) {
            const int64_t from = node_rows(rows, node, nodes) / w.slices.step * slice_bytes;
            const int64_t to = node_rows(rows, node + 1, nodes) / w.slices.step * slice_bytes;
            ranges.push_back(NodeBytes{base + from, to - from, node});
          }
        }
      }
    }
    const auto stop = [this] { return model_.cancelled(); };
    touch_on_nodes(ranges.data(), ranges.size(), model_.machine().cpus().data(), nodes, stop);
    ranges.clear();
    for (const Fill& fill : fills) {
      const int64_t bytes = page_up(fill.offset + fill.bytes) - page_down(fill.offset);
      for (int64_t at = 0; at < bytes; at += kStripe) {
        const int node = static_cast<int>(at / kStripe % nodes);
        ranges.push_back(NodeBytes{fill.memory + at, std::min(kStripe, bytes - at), node});
      }
    }
    touch_on_nodes(ranges.data(), ranges.size(), model_.machine().cpus().data(), nodes, stop);
  }

  // What follows on a first segment moves up to it: each was read behind the pages of the one before.
  void join_segments(const std::vector<Fill>& fills) {
    uint8_t* end = nullptr;
    for (size_t i = 0; i < fills.size(); i++) {
      Held& held = held_[i];
      if (held.extent->first == 0) {
        end = held.base + fills[i].bytes;
        continue;
      }
      memmove(end, held.base, static_cast<size_t>(fills[i].bytes));
      end += fills[i].bytes;
      held.base = nullptr;
    }
  }

  Status check_indices() const {
    for (const auto& [weight, spot] : spots_) {
      const int32_t index = index_plane(*weight->layout);
      if (index < 0 || spot.group >= 0) continue;
      const std::vector<PlaneExtent>& extents = weight->planes[index].extents;
      for (const Held& held : held_) {
        if (held.extent < extents.data() || held.extent >= extents.data() + extents.size()) continue;
        HW_TRY(check_index(*weight, held.base, weight->experts / static_cast<int64_t>(extents.size())));
      }
    }
    return done();
  }

  // Over the threads, a matrix each: what it costs is one more walk through the weights.
  Status pack() {
    model_.pool().parallel_for(wanted_.packed ? static_cast<int64_t>(pins_.size()) : 0, [&](int64_t i, int) {
      Pin& pin = pins_[static_cast<size_t>(i)];
      const Weight& w = *pin.weight;
      if (w.layout->blocks == nullptr || (w.heads > 1 && w.rows / w.heads % kStripRows != 0)) return;
      if (model_.kernels().packed[w.dtype()] == nullptr || model_.cancelled()) return;
      const size_t end = w.experts == 1 ? pin.first + 1 : pin.end;
      const int64_t experts = w.experts / static_cast<int64_t>(end - pin.first);
      for (size_t k = pin.first; k < end; k++) {
        held_[k].base = pack_in_place(w, experts, spots_.at(pin.weight).pinned, held_[k].base);
      }
      pin.packed = true;
    });
    return model_.cancelled() ? fail("CANCELLED", "stopped by the caller") : done();
  }

  // Nothing fails any more.
  void settle() {
    for (const Held& held : held_) held.extent->base = held.base;
    for (const Pin& pin : pins_) pin.weight->packed = pin.packed;
    for (auto& [weight, spot] : spots_) {
      weight->resident = spot.pinned;
      if (spot.streamed_from >= 0) {
        weight->source = made_->ring->source_of(weight);
        weight->streamed_from = spot.streamed_from;
      }
      if (spot.group >= 0) {
        weight->slots = made_->slots.get();
        weight->slot_group = spot.group;
        weight->slot_segment = spot.segment;
      }
    }
    model_.counters().bytes[static_cast<int>(Purpose::weights)] += made_->pinned.bytes();
    if (wanted_.lock) {
      made_->pinned.lock();
      if (made_->ring != nullptr) made_->ring->memory().lock();
      if (made_->slots != nullptr) {
        made_->slots->slot_memory().lock();
        made_->slots->staging_memory().lock();
      }
    }
    Residency& residency = *made_;
    model_.keep_residency(std::move(made_));
    if (residency.slots != nullptr) {
      residency.reader->add(residency.slots.get(), Urgency::now);
      residency.reader->add(&residency.slots->filling(), Urgency::idle);
    }
    if (residency.ring != nullptr) {
      residency.reader->add(residency.ring.get());
      residency.ring->start();
    }
  }

  Model& model_;
  const Placement& wanted_;
  std::unique_ptr<Residency> made_;
  std::unordered_map<Weight*, Spot> spots_;
  std::vector<Pin> pins_;
  std::vector<Held> held_;
};

}  // namespace

Result<const char*> place(Model& model, const Placement& placement) {
  HW_TRY(model.check_open());
  if (model.residency() != nullptr) return bad_argument("the model's weights are placed already");
  return Placing(model, placement).run();
}

}  // namespace hw
