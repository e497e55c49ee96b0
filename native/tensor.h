// A weight as the kernels' callers see it: a matrix (or a stack of expert matrices) of one layout whose planes lie in
// file mappings, in pinned memory, or come through a ring. Weight bytes never enter V8.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "error.h"
#include "kernels/kernels.h"
#include "kernels/layouts.h"

namespace hw {

class DataFile;
class ExpertSlots;

// Where slices of a weight come from when they are not all in memory.
// Pieces are handed out in ascending order; the caller releases each before asking for the next but one.
struct WeightSource {
  virtual ~WeightSource() {}
  // Blocks until the piece that begins at `slice` of `expert`'s matrix is in memory.
  virtual Status next(int64_t expert, int64_t slice, Piece* out) = 0;
  virtual void release(const Piece& piece) = 0;
  // Whether the pieces are in memory all along: nobody waits for them.
  virtual bool in_memory() const { return false; }
};

// A run of bytes of a plane: all experts, one after the other, or one of them; of a plain matrix all slices, or a
// segment.
struct PlaneExtent {
  DataFile* file = nullptr;       // null for weights made in memory
  int64_t offset = 0;
  const uint8_t* base =
      nullptr;  // its leading slices in memory, or a whole plane; pinned segments lie at that of the first
  int64_t first = 0;              // slice of a segment
};

struct Plane {
  std::vector<PlaneExtent> extents;
};

struct Weight {
  const Layout* layout = nullptr;
  int64_t rows = 0, cols = 0, experts = 1;  // experts == 1 for a plain matrix
  int32_t heads = 1;  // so many matrices are the rows of a plain one, where products take it by heads
  Slices slices = {};                       // of one expert
  Plane planes[kMostPlanes];
  int64_t resident = 0;            // leading slices of every expert that lie at `base`
  bool packed = false;             // they are packed there (kernels/packed.h): another layout than on disk
  WeightSource* source = nullptr;  // of the slices that are not in memory, or null
  int64_t streamed_from = 0;       // the first slice of the source
  ExpertSlots* slots = nullptr;    // holds experts, each with its partners of group slot_group
  int32_t slot_group = 0;
  int32_t slot_segment = 0;        // where its planes begin among those of an expert of the group

  // False when the shape is not whole slices of the layout.
  bool shape(const Layout* of, int64_t rows_, int64_t cols_, int64_t experts_) {
    layout = of;
    rows = rows_;
    cols = cols_;
    experts = experts_;
    return slices_of(*of, rows_, cols_, &slices);
  }
  Dtype dtype() const { return static_cast<Dtype>(layout->id); }  // of a layout that is blocks
  int64_t expert_bytes() const { return slices.count * slices.bytes + slices.whole; }
  int64_t bytes() const { return experts * expert_bytes(); }
  int64_t plane_bytes(int32_t plane) const {  // of one expert
    return slices.count * slices.plane_bytes[plane] + slices.whole_bytes[plane];
  }

  const PlaneExtent& extent(int32_t plane, int64_t expert, int64_t slice = 0) const {
    const std::vector<PlaneExtent>& extents = planes[plane].extents;
    if (extents.size() == 1) return extents[0];
    return extents[experts > 1 ? static_cast<size_t>(expert) : segment(slice)];
  }
  // Of a plain matrix: the segment that holds a slice, and where it ends.
  size_t segment(int64_t slice) const {
    const std::vector<PlaneExtent>& extents = planes[0].extents;
    size_t i = extents.size() - 1;
    while (extents[i].first > slice) i--;
    return i;
  }
  int64_t segment_end(int64_t slice) const {
    const size_t next = segment(slice) + 1;
    return experts > 1 || next == planes[0].extents.size() ? slices.count : planes[0].extents[next].first;
  }
  // Bytes of the plane before `expert` in its extent.
  int64_t expert_offset(int32_t plane, int64_t expert) const {
    return planes[plane].extents.size() == 1 ? expert * plane_bytes(plane) : 0;
  }
  // Where a slice begins in its file.
  int64_t file_offset(int32_t plane, int64_t expert, int64_t slice) const {
    const PlaneExtent& at = extent(plane, expert, slice);
    return at.offset + expert_offset(plane, expert) + (slice - at.first) * slices.plane_bytes[plane];
  }
  // What lies at base.
  Piece resident_piece(int64_t expert) const {
    Piece piece = {{}, 0, resident};
    // Of stacked experts all slices are resident, or none.
    for (int32_t p = 0; p < layout->planes; p++) piece.plane[p] = extent(p, expert).base + expert_offset(p, expert);
    return piece;
  }
};

// The further segments of a matrix in mapped files; the first is what is resident.
struct MappedSegments : WeightSource {
  const Weight* weight = nullptr;
  Status next(int64_t, int64_t slice, Piece* out) override {
    const Weight& w = *weight;
    *out = Piece{{}, slice, w.segment_end(slice)};
    for (int32_t p = 0; p < w.layout->planes; p++) {
      const PlaneExtent& at = w.extent(p, 0, slice);
      out->plane[p] = at.base + (slice - at.first) * w.slices.plane_bytes[p];
    }
    return done();
  }
  void release(const Piece&) override {}
  bool in_memory() const override { return true; }
};

}  // namespace hw
