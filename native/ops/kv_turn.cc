// Keys that go to other positions: what is stored is turned by the difference and stored once more (decision 0096).
#include <string.h>

#include "../kernels/kv_page.h"
#include "kv.h"
#include "ops.h"

namespace hw {
namespace ops {

namespace {

// A key of a page as the row that kv_store made, blocks one after the other.
void take_key(int32_t type, const uint8_t* head, int32_t position, int32_t dim, uint8_t* row) {
  const uint8_t* group = kv_key_group(type, head, dim, position & ~(kKeyGroup - 1));
  const int32_t lane = position % kKeyGroup;
  if (type == KV_F16) {
    for (int32_t d = 0; d < dim; d++) memcpy(row + 2 * d, group + (d * kKeyGroup + lane) * 2, 2);
    return;
  }
  const int32_t words = type == KV_Q8_0 ? 8 : 4, block_bytes = 2 + 4 * words;
  const uint8_t* scales = kv_scales(type, head, dim, 0);
  for (int32_t b = 0; b < dim / 32; b++) {
    uint8_t* block = row + b * block_bytes;
    memcpy(block, scales + (b * kPagePositions + position) * 2, 2);
    for (int32_t i = 0; i < words; i++) {
      memcpy(block + 2 + 4 * i, group + ((b * words + i) * kKeyGroup + lane) * 4, 4);
    }
  }
}

void decode_key(int32_t type, const uint8_t* row, float* key, int32_t dim) {
  if (type == KV_F16) {
    kv_decode_f16(row, key, dim);
  } else if (type == KV_Q8_0) {
    kv_decode_q8_0(row, key, dim);
  } else {
    kv_decode_q4_0(row, key, dim);
  }
}

// In double; what is stored is rounded once to float, and then as any key.
void turn(float* x, Slice<const double> cosines, Slice<const double> sines, bool interleaved) {
  const int64_t pairs = cosines.length;
  for (int64_t i = 0; i < pairs; i++) {
    float& a = x[interleaved ? 2 * i : i];
    float& b = x[interleaved ? 2 * i + 1 : i + pairs];
    const double xa = a, xb = b;
    a = static_cast<float>(xa * cosines.data[i] - xb * sines.data[i]);
    b = static_cast<float>(xa * sines.data[i] + xb * cosines.data[i]);
  }
}

}  // namespace

Status kv_turn(Model& model, int32_t pool_handle, int32_t layer_index, int32_t page, int32_t from, int32_t to,
               Slice<const double> cosines, Slice<const double> sines, bool interleaved, int32_t first) {
  HW_GET(KvPool, pool, model, pool_handle);
  Result<const KvLayer*> found = kv_layer(pool, layer_index);
  if (!found.ok) return Status{false};
  const KvLayer& layer = *found.value;
  if (page < 0 || page >= pool.pages || from < 0 || to < from || to > kPagePositions || pool.every != 1 ||
      layer.hadamard) {
    return bad_argument("keys %d to %d of page %d to turn", from, to, page);
  }
  if (!pool.in_memory(page)) return bad_argument("page %d is on the disk", page);
  if (cosines.length < 1 || sines.length != cosines.length || first < 0 || cosines.length > layer.dim_k / 2 ||
      first > layer.dim_k - 2 * cosines.length) {
    return bad_argument("%lld pairs behind %d values in keys of %d", static_cast<long long>(cosines.length), first,
                        layer.dim_k);
  }
  const Kernels& kernels = model.kernels();
  const int32_t type = pool.keys, dim = layer.dim_k;
  const int32_t first_group = from / kKeyGroup;
  const int64_t groups = (to + kKeyGroup - 1) / kKeyGroup - first_group;
  uint8_t* const keys = pool.page(page) + layer.offset_k;
  // Neighbours share cache lines: a thread has all positions of a group.
  model.pool().parallel_for(layer.heads * groups, [&](int64_t item, int) {
    alignas(64) uint8_t encoded[2 * kMaxHeadDim];
    alignas(64) float key[kMaxHeadDim];
    uint8_t* const head = keys + item / groups * kPagePositions * layer.row_bytes_k;
    const int32_t start = (first_group + static_cast<int32_t>(item % groups)) * kKeyGroup;
    const int32_t end = start + kKeyGroup < to ? start + kKeyGroup : to;
    for (int32_t position = start < from ? from : start; position < end; position++) {
      take_key(type, head, position, dim, encoded);
      decode_key(type, encoded, key, dim);
      turn(key + first, cosines, sines, interleaved);
      kernels.kv_store[type](key, encoded, dim);
      kv_place_key(type, encoded, head, position, dim);
    }
  });
  return done();
}

Status kv_copy_rows(Model& model, int32_t pool_handle, int32_t from, int32_t to, int32_t rows) {
  HW_GET(KvPool, pool, model, pool_handle);
  if (from < 0 || from >= pool.pages || to < 0 || to >= pool.pages || rows < 0 || rows > kPagePositions) {
    return bad_argument("%d rows of pages %d and %d of a pool of %d", rows, from, to, pool.pages);
  }
  if (!pool.in_memory(from) || !pool.in_memory(to)) return bad_argument("pages %d and %d are on the disk", from, to);
  if (from == to) return done();
  const uint8_t* const source = pool.page(from);
  uint8_t* const target = pool.page(to);
  for (const KvLayer& layer : pool.layers) {
    for (int32_t h = 0; h < layer.heads; h++) {
      const int64_t keys = layer.offset_k + h * kPagePositions * layer.row_bytes_k;
      const int64_t values = layer.offset_v + h * kPagePositions * layer.row_bytes_v;
      for (int32_t row = 0; row < rows; row++) {
        kv_move_key(pool.keys, source + keys, row, target + keys, row, layer.dim_k);
        if (!layer.latent) kv_move_value(pool.values, source + values, row, target + values, row, layer.dim_v);
      }
    }
  }
  return done();
}

}  // namespace ops
}  // namespace hw
