// Shared by the verbs that change states in slots.
#pragma once
#include <string.h>

#include <atomic>

#include "ops.h"
#include "slots.h"

namespace hw {
namespace ops {

inline Result<const SlotLayer*> slot_layer(const SlotPool& pool, int32_t index, SlotKind kind) {
  if (index < 0 || index >= static_cast<int64_t>(pool.layers.size()) || pool.layers[index].kind != kind) {
    return bad_argument("state layer %d of %d", index, static_cast<int>(pool.layers.size()));
  }
  return &pool.layers[index];
}

inline Status check_pass(Model& model, const SlotPool& pool, int32_t n) {
  if (pool.pass != model.pass().number || n != model.pass().count) {
    return bad_argument("states want all rows of a pass that has slots");
  }
  return done();
}

// body(run, part) for parts of each run; `values`: what one row of a part costs.
template <typename Body>
Status over_runs(Model& model, const SlotPool& pool, int32_t parts, int64_t values, const Body& body) {
  std::atomic<bool> stop(false);
  auto one = [&](int64_t index, int) {
    if (stop.load(std::memory_order_relaxed) || model.cancelled()) {
      stop.store(true, std::memory_order_relaxed);
      return;
    }
    body(*pool.run(static_cast<int32_t>(index / parts)), static_cast<int32_t>(index % parts));
  };
  const int64_t items = int64_t{pool.run_count} * parts;
  if (int64_t{model.pass().count} * parts * values < kInlineValues) {
    for (int64_t i = 0; i < items; i++) one(i, 0);
  } else {
    model.pool().parallel_for(items, one);
  }
  return stop.load() ? cancelled() : done();
}

inline void clear(float* x, int64_t count) { memset(x, 0, static_cast<size_t>(count) * sizeof(float)); }

}  // namespace ops
}  // namespace hw
