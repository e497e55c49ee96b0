// KV pages that are on the disk. Pages are as many as ever; only some of them have a frame of memory. Which ones is the
// caller's affair (src/ops/cold-pages.ts): before a page loses its frame he has written it to the file. What is
// attended without a frame is read in parts, a layer of a page each, into places of its own (io/staging.h).
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
  int64_t stride = 0;  // bytes from page to page in the file
  DataFile file;
  std::shared_ptr<Reader> reader;  // the machine's
  std::unique_ptr<Staging> staging;  // dies before its reader and its file

  bool has_frame(int32_t page) const { return frame_of[static_cast<size_t>(page)] != kNone; }
};

}  // namespace hw
