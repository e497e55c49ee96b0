// Packed weight rows: 16 rows (a strip) interleaved so that one 64-byte load gives the same four bytes of all of them,
// in as many bytes as before. What the few- and many-row kernels do to every block of weights otherwise, once at load:
// no transposing, and one stream of memory instead of 16.
//
// A strip of `cols` columns is a sequence of chunks of kStripChunk columns, the last one shorter. A chunk of n blocks:
//   odd bytes  [n][16 rows][bytes % 4]        a block's scale where it fills no word: the first bytes of 32-value
//                                             blocks, the last of 256-value blocks
//   words      [n][bytes / 4][16 rows] uint32 the other bytes, in order
// A matrix is its strips, one after the other; rows left over (rows % 16) follow as they were.
#pragma once
#include <stdint.h>

#include "kernels.h"

namespace hw {

constexpr int32_t kStripRows = 16, kStripChunk = 512;

// A whole matrix, rows `row_bytes` apart, to `out`, where they follow each other without gaps.
void pack_rows(const DtypeInfo& info, const uint8_t* rows, int64_t row_bytes, int64_t count, int64_t cols,
               uint8_t* out);

// One strip: 16 rows of `cols` columns, row_bytes apart, to `out`; 16 * cols / block * bytes bytes. Must not overlap.
void pack_strip(const DtypeInfo& info, const uint8_t* rows, int64_t row_bytes, int64_t cols, uint8_t* out);

// Blocks [block, block + count) of row `row` (0 to 15) of a strip, as they were before packing.
void unpack_row(const DtypeInfo& info, const uint8_t* strip, int64_t cols, int row, int64_t block, int64_t count,
                uint8_t* out);

}  // namespace hw
