#include "layouts.h"

#include "units.h"

namespace hw {
namespace {

// Every dtype has a slot of its own in the kernel table.
constexpr int kMostLayouts = DTYPE_SLOTS + static_cast<int>(sizeof kPlaneLayouts / sizeof kPlaneLayouts[0]);

struct Table {
  Layout items[kMostLayouts];
  int count = 0;

  Table() {
    int types;
    const DtypeInfo* infos = dtype_infos(&types);
    for (int i = 0; i < types; i++) {
      const DtypeInfo& info = infos[i];
      items[count++] =
          Layout{info.dtype, info.name, false, info.acts, 1, 1,
                 {{"blocks", 1, info.block, info.bytes, false}, {}, {}, {}}, &info, UNIT_KINDS};
    }
    for (const PlanesInfo& info : kPlaneLayouts) {
      Layout& made = items[count++];
      made = Layout{info.id, info.name, info.by_inputs, info.acts, info.planes, 0, {}, nullptr, info.units};
      for (int32_t p = 0; p < info.planes; p++) {
        made.plane[p] = info.plane[p];
        made.cut += info.plane[p].whole ? 0 : 1;
      }
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

// Cells along an axis; 0 when they are not whole ones.
int64_t cells(int64_t all, int32_t each) { return each == 0 ? 1 : all % each == 0 ? all / each : 0; }

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

UnitGrid unit_grid(const Layout& layout, const Slices& slices, int64_t rows, int64_t cols, const Piece& piece) {
  UnitGrid grid = {};
  const int64_t first = piece.from * slices.step, held = (piece.to - piece.from) * slices.step;
  for (int32_t p = 0; p < layout.planes; p++) {
    const PlaneLayout& plane = layout.plane[p];
    grid.at[p] = piece.plane[p];
    // What the piece holds whole follows each other, the other side is a run of those away.
    grid.row_stride[p] = layout.by_inputs ? plane.bytes : cells(cols, plane.cols) * plane.bytes;
    grid.input_stride[p] = layout.by_inputs ? cells(rows, plane.rows) * plane.bytes : plane.bytes;
  }
  grid.first_row = layout.by_inputs ? 0 : first;
  grid.first_input = layout.by_inputs ? first : 0;
  grid.inputs = layout.by_inputs ? held : cols;
  grid.all_inputs = cols;
  return grid;
}

bool slices_of(const Layout& layout, int64_t rows, int64_t cols, Slices* out) {
  int64_t step = layout.by_inputs ? kUnitInputs : 1;
  for (int32_t p = 0; p < layout.planes; p++) {
    const PlaneLayout& plane = layout.plane[p];
    if (cells(rows, plane.rows) == 0 || cells(cols, plane.cols) == 0) return false;
    if (p < layout.cut) step = common_multiple(step, layout.by_inputs ? plane.cols : plane.rows);
  }
  const int64_t whole = layout.by_inputs ? cols : rows;
  if (step == 0 || whole % step != 0) return false;
  *out = Slices{whole / step, step, {}, 0, {}, 0};
  const int64_t slice_rows = layout.by_inputs ? rows : step, slice_cols = layout.by_inputs ? step : cols;
  for (int32_t p = 0; p < layout.planes; p++) {
    const PlaneLayout& plane = layout.plane[p];
    const bool cut = p < layout.cut;
    int64_t bytes, *const sum = cut ? &out->bytes : &out->whole;
    if (__builtin_mul_overflow(cells(cut ? slice_rows : rows, plane.rows),
                               cells(cut ? slice_cols : cols, plane.cols) * plane.bytes, &bytes) ||
        __builtin_add_overflow(*sum, bytes, sum)) {
      return false;
    }
    (cut ? out->plane_bytes : out->whole_bytes)[p] = bytes;
  }
  int64_t all;
  return !__builtin_mul_overflow(out->bytes, out->count, &all) && !__builtin_add_overflow(all, out->whole, &all);
}

}  // namespace hw
