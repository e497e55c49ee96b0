// Shared by the verbs that touch KV pages.
#pragma once
#include "../model.h"

namespace hw {
namespace ops {

Result<const KvLayer*> kv_layer(const KvPool& pool, int32_t layer);

// A key, or a head of a query, of a layer with `hadamard`.
void mix_key(const KvLayer& layer, float* x);

// The pass's page ids of a pool: i32 [sequences][*blocks].
Result<const int32_t*> block_tables(Model& model, const KvPool& pool, int32_t* blocks);

}  // namespace ops
}  // namespace hw
