#include "kv.h"

#include <string.h>

#include "../kernels/hadamard.h"
#include "../kernels/kv_page.h"
#include "ops.h"

namespace hw {
namespace ops {

Result<const KvLayer*> kv_layer(const KvPool& pool, int32_t layer) {
  if (layer < 0 || layer >= static_cast<int64_t>(pool.layers.size())) {
    return bad_argument("KV layer %d of %d", layer, static_cast<int>(pool.layers.size()));
  }
  return &pool.layers[layer];
}

Result<const int32_t*> block_tables(Model& model, const KvPool& pool, int32_t* blocks) {
  Pass& pass = model.pass();
  if (pool.index >= pass.pool_count) return bad_argument("the pass has no block tables for KV pool %d", pool.index);
  *blocks = pass.blocks_of_table[pool.index];
  return static_cast<const int32_t*>(pass.tables[pool.index]->as<int32_t>());
}

void mix_key(const KvLayer& layer, float* x) {
  if (layer.latent) {
    hadamard_latent(x, layer.dim_k, layer.dim_v);
  } else {
    hadamard(x, layer.dim_k);
  }
}

Status kv_store(Model& model, int32_t pool_handle, int32_t layer_index, int32_t k_handle, int32_t v_handle, int32_t n) {
  HW_GET(KvPool, pool, model, pool_handle);
  HW_GET(Tensor, k, model, k_handle);
  HW_TRY(check_rows(k, n, "k"));
  HW_TRY(check_pass_rows(model, n));
  Result<const KvLayer*> found = kv_layer(pool, layer_index);
  if (!found.ok) return Status{false};
  const KvLayer& layer = *found.value;
  const Tensor* v = nullptr;
  if (!layer.latent) {
    HW_GET(Tensor, values, model, v_handle);
    HW_TRY(check_rows(values, n, "v"));
    v = &values;
  }
  if (k.cols != static_cast<int64_t>(layer.heads) * layer.dim_k || (layer.latent && v_handle != 0) ||
      (v != nullptr && v->cols != static_cast<int64_t>(layer.heads) * layer.dim_v)) {
    return bad_argument("k and v of %d and %d columns for %d heads of %d and %d", k.cols, v == nullptr ? 0 : v->cols,
                        layer.heads, layer.dim_k, layer.dim_v);
  }
  int32_t blocks = 0;
  Result<const int32_t*> tables = block_tables(model, pool, &blocks);
  if (!tables.ok) return Status{false};

  const Kernels& kernels = model.kernels();
  const Pass& pass = model.pass();
  auto one = [&](int64_t t, int) {
    int32_t position = pass.positions()[t];
    if ((position + 1) % pool.every != 0) return;
    int32_t slot = position / pool.every % kPagePositions;
    // begin() has checked that the row's own position has a page.
    int64_t entry = static_cast<int64_t>(pass.sequences()[t]) * blocks + pool.block_of(position);
    uint8_t* page = pool.page(tables.value[entry]);
    alignas(64) uint8_t encoded[2 * kMaxHeadDim];
    alignas(64) float mixed[kMaxHeadDim];
    for (int32_t h = 0; h < layer.heads; h++) {
      const float* key = k.row(t) + static_cast<int64_t>(h) * layer.dim_k;
      if (layer.hadamard) {
        memcpy(mixed, key, static_cast<size_t>(layer.dim_k) * sizeof(float));
        mix_key(layer, mixed);
        key = mixed;
      }
      kernels.kv_store[pool.keys](key, encoded, layer.dim_k);
      kv_place_key(pool.keys, encoded, page + layer.offset_k + h * kPagePositions * layer.row_bytes_k, slot,
                   layer.dim_k);
      if (v == nullptr) continue;
      const float* value = v->row(t) + static_cast<int64_t>(h) * layer.dim_v;
      if (layer.hadamard) {
        memcpy(mixed, value, static_cast<size_t>(layer.dim_v) * sizeof(float));
        hadamard(mixed, layer.dim_v);
        value = mixed;
      }
      kernels.kv_store[pool.values](value, encoded, layer.dim_v);
      kv_place_value(pool.values, encoded, page + layer.offset_v + h * kPagePositions * layer.row_bytes_v, slot,
                     layer.dim_v);
    }
  };
  if (static_cast<int64_t>(n) * (k.cols + (v == nullptr ? 0 : v->cols)) < kInlineValues) {
    for (int32_t t = 0; t < n; t++) one(t, 0);
  } else {
    model.pool().parallel_for(n, one);
  }
  return done();
}

}  // namespace ops
}  // namespace hw
