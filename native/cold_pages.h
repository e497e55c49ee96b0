// KV pages that are on the disk. Pages are as many as ever; only some of them have a frame of memory. Which ones is the
// caller's affair (src/ops/cold-pages.ts): before a page loses its frame he has written it to the file. What is
// attended without a frame is read in parts, a layer of a page each, into places of its own (io/staging.h). In the file
// a layer's parts of all pages lie side by side, so that neighbours are one read.
#pragma once
#include <stdint.h>

#include <memory>
#include <vector>

#include "io/staging.h"

namespace hw {

struct ColdPages {
  static constexpr int32_t kNone = -1;
  std::vector<int32_t> frame_of;  // of each page, or kNone
  std::vector<int32_t> free;      // frames
  // A page that lost its frame again has other bytes: its parts have other names.
  std::vector<int64_t> serial;
  int64_t last_serial = 0;
  // Of each layer: where its part of page 0 begins in the file, and how far it is to the next page's.
  struct Row {
    int64_t base, stride;
  };
  std::vector<Row> rows;
  int64_t file_bytes = 0;
  DataFile file;
  std::shared_ptr<Reader> reader;    // the machine's
  std::unique_ptr<Staging> staging;  // dies before its reader and its file

  void add_layer(int64_t part_bytes, int32_t pages) {
    rows.push_back({file_bytes, page_up(part_bytes)});
    file_bytes += rows.back().stride * pages;
  }
  int64_t part_at(int64_t layer, int32_t page) const {
    const Row& row = rows[static_cast<size_t>(layer)];
    return row.base + page * row.stride;
  }
  bool has_frame(int32_t page) const { return frame_of[static_cast<size_t>(page)] != kNone; }
};

}  // namespace hw
