// A placement as JavaScript passes it: an object with a field for each name (NativePlacement in addon.types.ts).
#pragma once
#include "../residency.h"
#include "addon.h"

namespace hw {

// NATIVE_ARGUMENT that names the first field which is missing or of another type.
Status read(napi_env env, napi_value value, int index, Placement* out);

}  // namespace hw
