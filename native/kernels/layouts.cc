#include "layouts.h"

#include <string.h>

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
                 {{"blocks", 1, info.block, info.bytes, false, false}, {}, {}, {}}, &info, UNIT_KINDS, {}};
    }
    for (const PlanesInfo& info : kPlaneLayouts) {
      Layout& made = items[count++];
      made = Layout{-1, info.name, info.by_inputs, info.acts, info.planes, 0, {}, nullptr, info.units, info.form};
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

int64_t rounded_up(int64_t all, int64_t each) { return each == 0 ? 1 : (all - 1) / each + 1; }

// Cells along an axis; 0 when they are not whole ones, which those of whole planes need not be.
int64_t cells(int64_t all, int32_t each, bool whole) {
  return each == 0 ? 1 : whole || all % each == 0 ? rounded_up(all, each) : 0;
}

// Of so many rows and inputs; false when they are too many.
bool plane_bytes(const PlaneLayout& plane, int64_t rows, int64_t cols, int64_t* out) {
  if (plane.flat) return !__builtin_mul_overflow(rounded_up(rows * cols, plane.cols), plane.bytes, out);
  return !__builtin_mul_overflow(cells(rows, plane.rows, plane.whole), cells(cols, plane.cols, plane.whole), out) &&
         !__builtin_mul_overflow(*out, plane.bytes, out);
}

}  // namespace

const Layout* layout_of(int32_t id) {
  const Table& all = table();
  for (int i = 0; i < all.count; i++) {
    if (all.items[i].id == id && id >= 0) return &all.items[i];
  }
  return nullptr;
}

const Layout* layout_named(const char* name) {
  const Table& all = table();
  for (int i = 0; i < all.count; i++) {
    if (strcmp(all.items[i].name, name) == 0) return &all.items[i];
  }
  return nullptr;
}

bool describe_layout(const double* numbers, int64_t count, Layout* out) {
  const int64_t of_planes = count - LAYOUT_NUMBERS;
  if (of_planes < LAYOUT_PLANE_NUMBERS || of_planes % LAYOUT_PLANE_NUMBERS != 0) return false;
  for (int64_t i = 0; i < count; i++) {
    if (i != LAYOUT_FACTOR && !(numbers[i] >= 0 && numbers[i] < 1 << 30)) return false;
  }
  const auto number = [&](int64_t i) { return static_cast<int32_t>(numbers[i]); };
  *out = Layout{-1, "described", number(LAYOUT_INPUTS) != 0, static_cast<ActKind>(number(LAYOUT_ACTS)), 0, 0, {},
                nullptr, static_cast<UnitKind>(number(LAYOUT_UNITS)),
                {static_cast<CodeKind>(number(LAYOUT_CODES)), number(LAYOUT_BITS),
                 static_cast<Packing>(number(LAYOUT_PACKING)), static_cast<ScaleKind>(number(LAYOUT_SCALES)),
                 static_cast<OffsetKind>(number(LAYOUT_OFFSETS)), number(LAYOUT_ADDEND),
                 static_cast<float>(numbers[LAYOUT_FACTOR])}};
  const LayoutForm& form = out->form;
  const int64_t planes = of_planes / LAYOUT_PLANE_NUMBERS;
  if (planes < 2 || planes > kMostPlanes || out->units >= UNIT_KINDS || form.codes >= CODE_KINDS || form.bits < 1 ||
      form.bits > 8 || form.packing >= PACKINGS || form.scales >= SCALE_KINDS || form.offsets >= OFFSET_KINDS ||
      out->acts != (out->units == UNITS_FLOATS ? ACTS_F32 : ACTS_Q8_32)) {
    return false;
  }
  const bool stored_offsets = form.offsets != OFFSETS_CONSTANT, nested = form.scales == SCALES_NESTED;
  const int64_t least = 2 + (stored_offsets ? 1 : 0) + (nested ? 2 : 0);
  if (planes < least || planes > least + (out->units == UNITS_INTEGERS_SCATTERED ? 1 : 0)) return false;
  for (; out->planes < planes; out->planes++) {
    const int64_t at = LAYOUT_NUMBERS + out->planes * LAYOUT_PLANE_NUMBERS;
    PlaneLayout& plane = out->plane[out->planes];
    plane = {"", number(at + LAYOUT_PLANE_ROWS), number(at + LAYOUT_PLANE_COLS), number(at + LAYOUT_PLANE_BYTES),
             number(at + LAYOUT_PLANE_WHOLE) != 0, number(at + LAYOUT_PLANE_FLAT) != 0};
    if (plane.bytes < 1 || (plane.flat && (!plane.whole || plane.cols < 1)) || (!plane.whole && plane.rows < 1) ||
        (!plane.whole && plane.cols < 1 && out->by_inputs) || (!plane.whole && out->cut < out->planes)) {
      return false;
    }
    if (!plane.whole) out->cut++;
  }
  return out->cut > 0;
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
    grid.row_stride[p] = layout.by_inputs ? plane.bytes : cells(cols, plane.cols, plane.whole) * plane.bytes;
    grid.input_stride[p] = layout.by_inputs ? cells(rows, plane.rows, plane.whole) * plane.bytes : plane.bytes;
  }
  grid.first_row = layout.by_inputs ? 0 : first;
  grid.first_input = layout.by_inputs ? first : 0;
  grid.inputs = layout.by_inputs ? held : cols;
  grid.all_inputs = cols;
  grid.all_rows = rows;
  return grid;
}

bool slices_of(const Layout& layout, int64_t rows, int64_t cols, Slices* out) {
  int64_t step = layout.by_inputs ? kUnitInputs : 1;
  if (layout.blocks == nullptr && layout.acts == ACTS_Q8_32 && cols % kUnitInputs != 0) return false;
  for (int32_t p = 0; p < layout.planes; p++) {
    const PlaneLayout& plane = layout.plane[p];
    if (!plane.flat && (cells(rows, plane.rows, plane.whole) == 0 || cells(cols, plane.cols, plane.whole) == 0)) {
      return false;
    }
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
    if (!plane_bytes(plane, cut ? slice_rows : rows, cut ? slice_cols : cols, &bytes) ||
        __builtin_add_overflow(*sum, bytes, sum)) {
      return false;
    }
    (cut ? out->plane_bytes : out->whole_bytes)[p] = bytes;
  }
  int64_t all;
  return !__builtin_mul_overflow(out->bytes, out->count, &all) && !__builtin_add_overflow(all, out->whole, &all);
}

}  // namespace hw
