// How fast a file can be read, by the reader that streams weights.
#include <algorithm>
#include <memory>

#include "../io/pinned.h"
#include "../system/thread.h"
#include "addon.h"

namespace hw {

namespace {
constexpr int64_t kLargestRequest = int64_t{64} << 20;

double now() { return 1e-9 * static_cast<double>(monotonic_nanoseconds()); }
}  // namespace

// out: by ReadRate. Extents are [offset, bytes] each, read in order.
Status read_rate(const Text& path, bool direct, int32_t engine, int32_t depth, int64_t request_bytes,
                 Slice<const double> extents, Slice<double> out) {
  if (engine < 0 || engine >= static_cast<int32_t>(IoEngine::count) || depth < 1 || depth > Reader::kMostDepth ||
      request_bytes < kPage || request_bytes > kLargestRequest || extents.length % 2 != 0 || out.length != READ_RATES) {
    return bad_argument("a rate of %d reads of %lld bytes", depth, static_cast<long long>(request_bytes));
  }
  request_bytes = page_up(request_bytes);
  DataFile file;
  HW_TRY(file.open(path.data, direct ? IoMode::direct : IoMode::buffered));
  file.no_readahead();
  PinnedMemory memory;
  std::unique_ptr<Reader> reader(Reader::open(static_cast<IoEngine>(engine), depth));
  int64_t places = int64_t{2} * depth;
  // An extent's first and last page come along.
  int64_t place_bytes = request_bytes + 2 * kPage;
  if (reader == nullptr || !memory.allocate(places * place_bytes)) return fail("MEMORY_BUDGET", "no memory for reads");
  std::vector<Fill> fills;
  for (int64_t i = 0; i < extents.length; i += 2) {
    double from = extents.data[i], bytes = extents.data[i + 1];
    if (!(from >= 0) || !(bytes >= 1) || !(from + bytes <= static_cast<double>(file.bytes()))) {
      return bad_argument("extent %lld is outside the file", static_cast<long long>(i / 2));
    }
    int64_t end = static_cast<int64_t>(from + bytes);
    for (int64_t at = static_cast<int64_t>(from); at < end; at += request_bytes) {
      uint8_t* place = memory.data() + static_cast<int64_t>(fills.size()) % places * place_bytes;
      fills.push_back(Fill{&file, at, std::min(request_bytes, end - at), place});
    }
  }
  double began = now();
  HW_TRY(fill_memory(*reader, fills.data(), fills.size(), nullptr, place_bytes));
  out.data[READ_SECONDS] = now() - began;
  out.data[READ_BYTES] = static_cast<double>(reader->bytes_read());
  out.data[READ_DIRECT] = file.direct_handle() != kNoFile ? 1 : 0;
  return done();
}

}  // namespace hw
