// Where the values of one KV head lie in a page of kPagePositions positions. Keys are turned: 16 positions side by
// side, so that a vector register holds one value of as many keys, and a score needs no sum across its lanes.
//   keys    f16    halves  [position / 16][dim][position % 16]
//           q8_0   codes   [position / 16][dim / 4][position % 16][4], int8; then scales
//           q4_0   codes   [position / 16][dim / 32][4][position % 16][4], two to a byte: byte i of a block is value i
//                          in its low and value 16 + i in its high half, less 8; then scales
//   values  f16    halves  [position][dim]
//           q8_0   codes   [position][dim]; then scales
//           q4_0   codes   [position][dim / 32][16], as above; then scales
//   scales  halves [dim / 32][position]
// The bytes are those of ggml's blocks (kv_rows.h), placed differently, so a page takes as much as its rows would.
// Static functions only.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "kernels.h"
#include "kv_rows.h"

namespace hw {

constexpr int32_t kKeyGroup = 16;  // positions side by side

static inline int64_t kv_code_bytes(int32_t type, int64_t dim) {
  return type == KV_F16 ? dim * 2 : type == KV_Q8_0 ? dim : dim / 2;
}

// Bytes of the keys or of the values of a head in a page.
static inline int64_t kv_head_bytes(int32_t type, int64_t dim) { return kPagePositions * kv_row_bytes(type, dim); }

// Scales of a block, [kPagePositions] halves.
static inline const uint8_t* kv_scales(int32_t type, const uint8_t* head, int64_t dim, int64_t block) {
  return head + kPagePositions * (kv_code_bytes(type, dim) + block * 2);
}

// Codes of the group of a position (a multiple of kKeyGroup).
static inline const uint8_t* kv_key_group(int32_t type, const uint8_t* head, int64_t dim, int64_t position) {
  return head + position * kv_code_bytes(type, dim);
}

static inline void kv_place_scales(const uint8_t* row, uint8_t* scales, int32_t position, int64_t dim,
                                   int block_bytes) {
  for (int64_t b = 0; b < dim / 32; b++)
    __builtin_memcpy(scales + (b * kPagePositions + position) * 2, row + b * block_bytes, 2);
}

// `row`, as kv_store encodes it, to its place among the keys of a head.
static inline void kv_place_key(int32_t type, const uint8_t* row, uint8_t* head, int32_t position, int32_t dim) {
  uint8_t* group = const_cast<uint8_t*>(kv_key_group(type, head, dim, position & ~(kKeyGroup - 1)));
  const int32_t lane = position % kKeyGroup;
  if (type == KV_F16) {
    for (int32_t d = 0; d < dim; d++) __builtin_memcpy(group + (d * kKeyGroup + lane) * 2, row + 2 * d, 2);
    return;
  }
  const int words = type == KV_Q8_0 ? 8 : 4, block_bytes = 2 + 4 * words;
  for (int32_t b = 0; b < dim / 32; b++)
    for (int i = 0; i < words; i++)
      __builtin_memcpy(group + ((b * words + i) * kKeyGroup + lane) * 4, row + b * block_bytes + 2 + 4 * i, 4);
  kv_place_scales(row, const_cast<uint8_t*>(kv_scales(type, head, dim, 0)), position, dim, block_bytes);
}

// The same among its values.
static inline void kv_place_value(int32_t type, const uint8_t* row, uint8_t* head, int32_t position, int32_t dim) {
  uint8_t* codes = head + position * kv_code_bytes(type, dim);
  if (type == KV_F16) {
    __builtin_memcpy(codes, row, (size_t)dim * 2);
    return;
  }
  const int bytes = type == KV_Q8_0 ? 32 : 16;
  for (int32_t b = 0; b < dim / 32; b++) __builtin_memcpy(codes + b * bytes, row + b * (2 + bytes) + 2, (size_t)bytes);
  kv_place_scales(row, const_cast<uint8_t*>(kv_scales(type, head, dim, 0)), position, dim, 2 + bytes);
}

// A position of one head to another place, of another head in the same form.
static inline void kv_move_scales(const uint8_t* from, int32_t position, uint8_t* to, int32_t slot, int64_t dim) {
  for (int64_t b = 0; b < dim / 32; b++)
    __builtin_memcpy(to + (b * kPagePositions + slot) * 2, from + (b * kPagePositions + position) * 2, 2);
}
// Cells of `bytes` each, as many as there are for a position, kKeyGroup positions side by side.
static inline void kv_move_cells(const uint8_t* from, int32_t at, uint8_t* to, int32_t lane, int32_t count, int bytes) {
  for (int32_t i = 0; i < count; i++)
    __builtin_memcpy(to + (i * kKeyGroup + lane) * bytes, from + (i * kKeyGroup + at) * bytes, (size_t)bytes);
}
static inline void kv_move_key(int32_t type, const uint8_t* from, int32_t position, uint8_t* to, int32_t slot,
                               int32_t dim) {
  const uint8_t* source = kv_key_group(type, from, dim, position & ~(kKeyGroup - 1));
  uint8_t* target = const_cast<uint8_t*>(kv_key_group(type, to, dim, slot & ~(kKeyGroup - 1)));
  const int32_t at = position % kKeyGroup, lane = slot % kKeyGroup;
  if (type == KV_F16) {
    kv_move_cells(source, at, target, lane, dim, 2);
    return;
  }
  kv_move_cells(source, at, target, lane, dim / (type == KV_Q8_0 ? 4 : 8), 4);
  uint8_t* const scales = const_cast<uint8_t*>(kv_scales(type, to, dim, 0));
  kv_move_scales(kv_scales(type, from, dim, 0), position, scales, slot, dim);
}
static inline void kv_move_value(int32_t type, const uint8_t* from, int32_t position, uint8_t* to, int32_t slot,
                                 int32_t dim) {
  const int64_t bytes = kv_code_bytes(type, dim);
  __builtin_memcpy(to + slot * bytes, from + position * bytes, (size_t)bytes);
  if (type == KV_F16) return;
  uint8_t* const scales = const_cast<uint8_t*>(kv_scales(type, to, dim, 0));
  kv_move_scales(kv_scales(type, from, dim, 0), position, scales, slot, dim);
}

}  // namespace hw
