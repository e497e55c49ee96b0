#include "layouts.h"

#include "units.h"

namespace hw {
namespace {

// Four-bit integers in words, a scale and an offset for each group of inputs: src/formats/int4.ts.
struct Int4 {
  int32_t id;
  const char* name;
  bool by_inputs;
  int32_t group;
};
constexpr Int4 kInt4[] = {
    {1000, "int4_rows_32", false, 32},  {1001, "int4_rows_64", false, 64},  {1002, "int4_rows_128", false, 128},
    {1003, "int4_inputs_32", true, 32}, {1004, "int4_inputs_64", true, 64}, {1005, "int4_inputs_128", true, 128},
};

// Every dtype has a slot of its own in the kernel table.
constexpr int kMostLayouts = DTYPE_SLOTS + static_cast<int>(sizeof(kInt4) / sizeof(kInt4[0]));

struct Table {
  Layout items[kMostLayouts];
  int count = 0;

  Table() {
    int types;
    const DtypeInfo* infos = dtype_infos(&types);
    for (int i = 0; i < types; i++) {
      const DtypeInfo& info = infos[i];
      items[count++] =
          Layout{info.dtype, info.name, false, info.acts, 1, {{"blocks", 1, info.block, info.bytes}, {}, {}, {}}, &info,
                 UNIT_KINDS};
    }
    for (const Int4& row : kInt4) {
      items[count++] = Layout{row.id,
                              row.name,
                              row.by_inputs,
                              ACTS_Q8_32,
                              3,
                              {{"words", 1, 8, 4}, {"scales", 1, row.group, 2}, {"offsets", 8, row.group, 4}, {}},
                              nullptr,
                              UNITS_INT4};
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

UnitGrid unit_grid(const Layout& layout, const Slices& slices, int64_t rows, int64_t cols, const Piece& piece) {
  UnitGrid grid = {};
  const int64_t first = piece.from * slices.step, held = (piece.to - piece.from) * slices.step;
  for (int32_t p = 0; p < layout.planes; p++) {
    const PlaneLayout& plane = layout.plane[p];
    grid.at[p] = piece.plane[p];
    // What the piece holds whole follows each other, the other side is a run of those away.
    grid.row_stride[p] = layout.by_inputs ? plane.bytes : cols / plane.cols * plane.bytes;
    grid.input_stride[p] = layout.by_inputs ? rows / plane.rows * plane.bytes : plane.bytes;
  }
  grid.first_row = layout.by_inputs ? 0 : first;
  grid.first_input = layout.by_inputs ? first : 0;
  grid.inputs = layout.by_inputs ? held : cols;
  return grid;
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
