#include "layouts.h"

namespace hw {
namespace {

constexpr int kMostLayouts = 32;

struct Table {
  Layout items[kMostLayouts];
  int count = 0;

  Table() {
    int types;
    const DtypeInfo* infos = dtype_infos(&types);
    for (int i = 0; i < types; i++) {
      const DtypeInfo& info = infos[i];
      items[count++] =
          Layout{info.dtype, info.name, false, info.acts, 1, {{"blocks", 1, info.block, info.bytes}, {}, {}, {}}, &info};
    }
  }
};

const Table& table() {
  static const Table made;
  return made;
}

int64_t common_multiple(int64_t a, int64_t b) {
  int64_t x = a, y = b;
  while (y != 0) {
    const int64_t rest = x % y;
    x = y;
    y = rest;
  }
  return a / x * b;
}

}  // namespace

const Layout* layout_of(int32_t id) {
  const Table& all = table();
  for (int i = 0; i < all.count; i++) {
    if (all.items[i].id == id) return &all.items[i];
  }
  return nullptr;
}

const Layout* layouts(int* count) {
  *count = table().count;
  return table().items;
}

bool slices_of(const Layout& layout, int64_t rows, int64_t cols, Slices* out) {
  int64_t step = layout.by_inputs ? kUnitInputs : 1;
  for (int32_t p = 0; p < layout.planes; p++) {
    const PlaneLayout& plane = layout.plane[p];
    if (rows % plane.rows != 0 || cols % plane.cols != 0) return false;
    step = common_multiple(step, layout.by_inputs ? plane.cols : plane.rows);
  }
  const int64_t whole = layout.by_inputs ? cols : rows;
  if (whole % step != 0) return false;
  *out = Slices{whole / step, step, {}, 0};
  const int64_t slice_rows = layout.by_inputs ? rows : step, slice_cols = layout.by_inputs ? step : cols;
  for (int32_t p = 0; p < layout.planes; p++) {
    const PlaneLayout& plane = layout.plane[p];
    int64_t bytes;
    if (__builtin_mul_overflow(slice_rows / plane.rows, slice_cols / plane.cols * plane.bytes, &bytes) ||
        __builtin_add_overflow(out->bytes, bytes, &out->bytes)) {
      return false;
    }
    out->plane_bytes[p] = bytes;
  }
  int64_t all;
  return !__builtin_mul_overflow(out->bytes, out->count, &all);
}

}  // namespace hw
