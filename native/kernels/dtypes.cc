// Types of blocks by id; the table is generated (boundary.h).
#include "kernels.h"

namespace hw {

const DtypeInfo* dtype_info(int32_t dtype) {
  for (const DtypeInfo& info : kDtypes) {
    if (info.dtype == dtype) return &info;
  }
  return nullptr;
}

const DtypeInfo* dtype_infos(int* count) {
  *count = static_cast<int>(sizeof kDtypes / sizeof kDtypes[0]);
  return kDtypes;
}

}  // namespace hw
