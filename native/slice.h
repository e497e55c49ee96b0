// Arguments that belong to JavaScript: valid during the call only.
#pragma once
#include <stdint.h>

namespace hw {

template <typename T>
struct Slice {
  T* data;
  int64_t length;
};

template <typename T>
struct Nullable {
  T value;
  bool present;
};

// A list of arrays; bounded, so that reading it needs no memory.
constexpr uint32_t kMostSlices = 64;
template <typename T>
struct SliceList {
  Slice<T> items[kMostSlices];
  int32_t count;
};

}  // namespace hw
