#include "packed.h"

#include <string.h>

namespace hw {
namespace {

// How a type's block is cut.
struct Cut {
  int64_t bytes, odd, odd_at, words_at;
  explicit Cut(const DtypeInfo& info)
      : bytes(info.bytes), odd(info.bytes % 4), odd_at(info.block == 32 ? 0 : info.bytes - info.bytes % 4),
        words_at(info.block == 32 ? info.bytes % 4 : 0) {}
};

}  // namespace

void pack_strip(const DtypeInfo& info, const uint8_t* rows, int64_t row_bytes, int64_t cols, uint8_t* out) {
  const Cut cut(info);
  const int64_t blocks = cols / info.block, per = kStripChunk / info.block;
  for (int64_t first = 0; first < blocks; first += per) {
    const int64_t n = blocks - first < per ? blocks - first : per;
    for (int64_t b = first; b < first + n; b++) {
      const uint8_t* const from = rows + b * cut.bytes + cut.odd_at;
      for (int r = 0; r < kStripRows; r++, out += cut.odd)
        memcpy(out, from + r * row_bytes, static_cast<size_t>(cut.odd));
    }
    for (int64_t b = first; b < first + n; b++) {
      const uint8_t* const from = rows + b * cut.bytes + cut.words_at;
      for (int64_t i = 0; i < cut.bytes / 4; i++, out += 4 * kStripRows) {
        for (int r = 0; r < kStripRows; r++) memcpy(out + 4 * r, from + r * row_bytes + 4 * i, 4);
      }
    }
  }
}

void pack_rows(const DtypeInfo& info, const uint8_t* rows, int64_t row_bytes, int64_t count, int64_t cols,
               uint8_t* out) {
  const int64_t bytes = cols / info.block * info.bytes;
  int64_t r = 0;
  for (; r + kStripRows <= count; r += kStripRows)
    pack_strip(info, rows + r * row_bytes, row_bytes, cols, out + r * bytes);
  for (; r < count; r++) memcpy(out + r * bytes, rows + r * row_bytes, static_cast<size_t>(bytes));
}

void unpack_row(const DtypeInfo& info, const uint8_t* strip, int64_t cols, int row, int64_t block, int64_t count,
                uint8_t* out) {
  const Cut cut(info);
  const int64_t blocks = cols / info.block, per = kStripChunk / info.block;
  for (int64_t b = block; b < block + count; b++, out += cut.bytes) {
    const int64_t first = b / per * per, n = blocks - first < per ? blocks - first : per;
    const uint8_t* const chunk = strip + kStripRows * first * cut.bytes;
    memcpy(out + cut.odd_at, chunk + ((b - first) * kStripRows + row) * cut.odd, static_cast<size_t>(cut.odd));
    const uint8_t* const words = chunk + kStripRows * n * cut.odd + kStripRows * (b - first) * (cut.bytes - cut.odd);
    for (int64_t i = 0; i < cut.bytes / 4; i++)
      memcpy(out + cut.words_at + 4 * i, words + 4 * kStripRows * i + 4 * row, 4);
  }
}

}  // namespace hw
