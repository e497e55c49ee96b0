// A model's share of what all models of the process have. Names and arguments are those of src/native/addon.types.ts.
#pragma once
#include "model.h"
#include "slice.h"

namespace hw {

// The model will hold at most so many bytes; MEMORY_BUDGET when all promises of the process exceed the limit (0: none).
Status promise(Model& model, int64_t bytes, int64_t limit);
Status machine_counters(Model& model, Slice<double> out);
// What all models of the process were promised.
Result<int64_t> promised_bytes();

}  // namespace hw
