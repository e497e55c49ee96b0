// Integers of layouts of several planes: lanes are output rows, so the chain of an output is one fma a unit in its own
// lane. Up to kFewTokens token rows the codes of a unit go from memory through registers into the products of all of
// them; more rows multiply panels, into which codes are unpacked once. Included by the ISA source, which provides
//   V, F, kLanes            kLanes 32-bit integers, floats: as many output rows
//   kFewTokens, kTile       token rows of a walk without panels, and of a tile
//   kPanelPairs             panels of a micro-kernel call: every broadcast serves so many
//   kSignedBytes            the dot product takes signed codes where they have eight bits, else unsigned ones
//   v_load v_store v_set32 v_and v_or v_xor v_add32 v_srl<N> v_sll<N> v_srlv v_four v_lut v_table
//   v_words(p, valid)       32-bit words of that many neighbours, the rest zero
//   v_load_quads(rows, o, q)  16 bytes at rows[lane] + o, word i of each in q[i]
//   v_zip8_low v_zip8_high v_zip16_low v_zip16_high   of 128-bit lanes
//   f_load_lanes(p, step) f_store_lanes(p, step, v)   four floats in each 128-bit lane, `step` floats apart
//   f_zip_low f_zip_high f_evens f_odds               (a0 b0 a1 b1), (a2 b2 a3 b3), (a0 a2 b0 b2), (a1 a3 b1 b3)
//   v_awq(p, stride, valid) nibbles of four inputs, `stride` bytes apart, of kLanes rows, a byte each in every lane
//   v_dot<kWide>(s, w, a)   s + products of four codes; v_total<kWide>(s): the sums as 32-bit integers
//   v_plus(s, a, b)         s + a * b, a in 16 signed bits, b in both halves of a lane
//   v_pairs(a, b)           the products of both signed halves of a lane, added
//   f_load f_store f_load_n f_store_n f_halves f_set f_mul f_fma f_of f_zero
//   order16(from, to, table)  16 bytes in another order
//   v_prefetch(p)

#include "units_sources.inl"

// --- activations in a unit's order

// [rows][units] of 32 codes each, then scales, then sums in both halves of a word.
struct PackedActs {
  const uint8_t* q;
  const float* d;
  const int32_t* sums;
  int64_t units;
};

static inline void pack_acts(const Acts& acts, const int32_t* pick, int64_t t0, int32_t n, int64_t unit0,
                             int64_t units, const Order& order, uint8_t* memory, PackedActs* out) {
  float* const d = reinterpret_cast<float*>(memory + n * units * 32);
  int32_t* const sums = reinterpret_cast<int32_t*>(d + n * units);
  *out = {memory, d, sums, units};
  for (int32_t t = 0; t < n; t++) {
    const int64_t row = pick != nullptr ? pick[t0 + t] : t0 + t;
    const int8_t* const q = acts.q + row * acts.q_stride + unit0 * 32;
    const int16_t* const s = acts.sums + row * acts.sums_stride + unit0 * 2;
    const float* const scale = acts.d + row * acts.d_stride + unit0;
    for (int64_t u = 0; u < units; u++) {
      order16(q + 32 * u, memory + (t * units + u) * 32, order.at);
      order16(q + 32 * u + 16, memory + (t * units + u) * 32 + 16, order.at);
      d[t * units + u] = scale[u];
      const int32_t sum = (s[2 * u] + s[2 * u + 1]) & 0xffff;
      sums[t * units + u] = static_cast<int32_t>(static_cast<uint32_t>(sum) << 16 | static_cast<uint32_t>(sum));
    }
  }
}
constexpr int64_t kPackedUnitBytes = 40;  // of an activation row

// --- few token rows

constexpr int kSpan = 4;  // units that are multiplied before sums go back to memory

// Units [u0, u1) of the packed ones, all of a group; unit u0 begins at `input`.
template <class S, int T>
static void few_rows(const S& source, int64_t r, int valid, int64_t input, int64_t u0, int64_t u1,
                     const PackedActs& acts, float* out, int64_t out_stride) {
  F scale;
  V offset;
  source.group(r, valid, input, &scale, &offset);
  F acc[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) acc[t] = f_load_n(out + t * out_stride, valid);
  for (int64_t u = u0; u < u1; u++, input += 32) {
    V q[kCodesOfUnit], sum[T];
    source.codes(r, valid, input, q);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) sum[t] = v_set32(0);
#pragma GCC unroll 8
    for (int i = 0; i < kCodesOfUnit; i++) {
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) {
        sum[t] = v_dot<S::kWide>(sum[t], q[i], v_four(acts.q + (t * acts.units + u) * 32 + 4 * i));
      }
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      const V isum = v_plus(v_total<S::kWide>(sum[t]), offset, v_four(acts.sums + t * acts.units + u));
      acc[t] = f_fma(f_mul(scale, f_set(acts.d + t * acts.units + u)), f_of(isum), acc[t]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) f_store_n(out + t * out_stride, acc[t], valid);
}

template <class S>
static inline void few_any(int n, const S& source, int64_t r, int valid, int64_t input, int64_t u0, int64_t u1,
                           const PackedActs& acts, float* out, int64_t out_stride) {
  switch (n) {
    case 1: few_rows<S, 1>(source, r, valid, input, u0, u1, acts, out, out_stride); break;
    case 2: few_rows<S, 2>(source, r, valid, input, u0, u1, acts, out, out_stride); break;
    case 3: few_rows<S, 3>(source, r, valid, input, u0, u1, acts, out, out_stride); break;
    case 4: few_rows<S, 4>(source, r, valid, input, u0, u1, acts, out, out_stride); break;
#if HW_FEW_TOKENS > 4
    case 5: few_rows<S, 5>(source, r, valid, input, u0, u1, acts, out, out_stride); break;
    case 6: few_rows<S, 6>(source, r, valid, input, u0, u1, acts, out, out_stride); break;
    case 7: few_rows<S, 7>(source, r, valid, input, u0, u1, acts, out, out_stride); break;
    default: few_rows<S, 8>(source, r, valid, input, u0, u1, acts, out, out_stride); break;
#endif
  }
}

// The end of a run of units from `input` on that lies in one group, at most `most` inputs.
static inline int64_t span_end(const Layout& layout, int64_t input, int64_t end, int64_t most) {
  const int64_t group = layout.plane[kScalesPlane].cols;
  int64_t to = input + most < end ? input + most : end;
  if (group > 0 && (input / group + 1) * group < to) to = (input / group + 1) * group;
  return to;
}

#include "units_awq.inl"

template <class S>
static void few(const S& source, int64_t r0, int64_t r1, const Acts& acts, const int32_t* pick, int32_t t0, int32_t n,
                float* out, int64_t out_stride, uint8_t* scratch) {
  const UnitGrid& grid = source.grid;
  constexpr int64_t kOwn = std::is_same_v<S, InputAwq> ? kAwqRoom : 0;
  static_assert(kAwqRoom <= kScratchBytes / 2, "scratch");
  const int64_t most = (static_cast<int64_t>(kScratchBytes) - kOwn) / (kPackedUnitBytes * n);
  for (int64_t first = grid.first_input; first < grid.first_input + grid.inputs; first += 32 * most) {
    const int64_t last = grid.first_input + grid.inputs, end = first + 32 * most < last ? first + 32 * most : last;
    PackedActs packed;
    pack_acts(acts, pick, t0, n, first / 32, (end - first) / 32, S::kOrder, scratch + kOwn, &packed);
    const auto span = [&](int64_t r, int64_t input, int64_t to) {
      const int valid = static_cast<int>(r1 - r < kLanes ? r1 - r : kLanes);
      few_any(n, source, r, valid, input, (input - first) / 32, (to - first) / 32, packed, out + r - r0, out_stride);
    };
    if (source.layout.by_inputs) {
      int64_t rest = r0;
      if constexpr (std::is_same_v<S, InputAwq>) {
        rest = awq_rows(source, r0, r1, first, end, n, packed, out, out_stride, scratch);
      }
      for (int64_t input = first, to; rest < r1 && input < end; input = to) {
        to = span_end(source.layout, input, end, 32 * kSpan);
        // The units behind these, which are read when the rows have been gone through.
        const int64_t ahead = to < end ? to - input : 0;
        for (int64_t r = rest; r < r1; r += kLanes) {
          for (int64_t i = 0; i < ahead && to + i < end; i += 32) source.fetch(r, to + i);
          span(r, input, to);
        }
      }
    } else {
      for (int64_t r = r0; r < r1; r += kLanes) {
        for (int64_t input = first, to; input < end; input = to) {
          to = span_end(source.layout, input, end, 32 * kSpan);
          span(r, input, to);
        }
      }
    }
  }
}

// --- many token rows

constexpr int kChunkUnits = 8;   // units of a panel
constexpr int kPanelsAtOnce = 4;
constexpr int kUnitBytes = (kCodesOfUnit + 2) * kLanes * 4;  // codes, scales, offsets
constexpr int kUnitsPanel = kUnitBytes * kChunkUnits;

// T token rows of the packed ones from `acts` on, times R panels.
template <class S, int T, int R>
static void panel_rows(const uint8_t* panel, int64_t units, const PackedActs& acts, int64_t t0, float* out,
                       int64_t out_stride) {
  F acc[R][T];
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) {
#pragma GCC unroll 2
    for (int p = 0; p < R; p++) acc[p][t] = f_load(out + t * out_stride + kLanes * p);
  }
  for (int64_t u = 0; u < units; u++, panel += kUnitBytes) {
    V sum[R][T];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
#pragma GCC unroll 2
      for (int p = 0; p < R; p++) sum[p][t] = v_set32(0);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kCodesOfUnit; i++) {
      V w[R];
#pragma GCC unroll 2
      for (int p = 0; p < R; p++) w[p] = v_load(panel + p * kUnitsPanel + i * kLanes * 4);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) {
        const V a = v_four(acts.q + ((t0 + t) * acts.units + u) * 32 + 4 * i);
#pragma GCC unroll 2
        for (int p = 0; p < R; p++) sum[p][t] = v_dot<S::kWide>(sum[p][t], w[p], a);
      }
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      const F d = f_set(acts.d + (t0 + t) * acts.units + u);
      const V asum = v_four(acts.sums + (t0 + t) * acts.units + u);
#pragma GCC unroll 2
      for (int p = 0; p < R; p++) {
        const uint8_t* const at = panel + p * kUnitsPanel + kCodesOfUnit * kLanes * 4;
        const V isum = v_plus(v_total<S::kWide>(sum[p][t]), v_load(at + kLanes * 4), asum);
        acc[p][t] = f_fma(f_mul(f_load(reinterpret_cast<const float*>(at)), d), f_of(isum), acc[p][t]);
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) {
#pragma GCC unroll 2
    for (int p = 0; p < R; p++) f_store(out + t * out_stride + kLanes * p, acc[p][t]);
  }
}

typedef void (*PanelFn)(const uint8_t* panel, int64_t units, const PackedActs& acts, int64_t t0, float* out,
                        int64_t out_stride);

template <class S, int R>
static PanelFn panel_fn(int t) {
  switch (t) {
    case 1: return panel_rows<S, 1, R>;
    case 2: return panel_rows<S, 2, R>;
    case 3: return panel_rows<S, 3, R>;
#if HW_UNITS_TILE > 4
    case 4: return panel_rows<S, 4, R>;
    case 5: return panel_rows<S, 5, R>;
    default: return panel_rows<S, 6, R>;
#else
    default: return panel_rows<S, 4, R>;
#endif
  }
}

template <class S>
static void many(const S& source, int64_t r0, int64_t r1, const Acts& acts, const int32_t* pick, int32_t n, float* out,
                 int64_t out_stride, uint8_t* scratch) {
  const UnitGrid& grid = source.grid;
  constexpr int kMost = 512;  // token rows at a time
  constexpr int64_t kTailBytes = int64_t{kMost} * kPanelsAtOnce * kLanes * 4;
  constexpr int64_t kPanels = int64_t{kPanelsAtOnce} * kUnitsPanel;
  uint8_t* const panel = scratch;
  float* const tail = reinterpret_cast<float*>(panel + kPanels);
  uint8_t* const memory = panel + kPanels + kTailBytes;
  constexpr int64_t kActsRoom = static_cast<int64_t>(kScratchBytes) - kPanels - kTailBytes;
  static_assert(kActsRoom >= int64_t{kMost} * kChunkUnits * kPackedUnitBytes, "scratch");
  const int64_t last = grid.first_input + grid.inputs;
  for (int32_t t0 = 0; t0 < n; t0 += kMost) {
    const int32_t count = n - t0 < kMost ? n - t0 : kMost;
    const int tiles = (count + kTile - 1) / kTile;
    const int64_t step = 32 * kChunkUnits;
    for (int64_t input = grid.first_input; input < last; input += step) {
      const int64_t units = (last - input < step ? last - input : step) / 32;
      PackedActs packed;
      pack_acts(acts, pick, t0, count, input / 32, units, S::kOrder, memory, &packed);
      for (int64_t r = r0; r < r1; r += kPanelsAtOnce * kLanes) {
        const int rows = static_cast<int>(r1 - r < kPanelsAtOnce * kLanes ? r1 - r : kPanelsAtOnce * kLanes);
        const int panels = (rows + kLanes - 1) / kLanes;
        for (int p = 0; p < panels; p++) {
          const int valid = rows - p * kLanes < kLanes ? rows - p * kLanes : kLanes;
          uint8_t* at = panel + p * kUnitsPanel;
          F scale = f_zero();
          V offset = v_set32(0), q[kCodesOfUnit];
          int64_t group_end = 0;
          for (int64_t u = 0; u < units; u++, at += kUnitBytes) {
            if (u == 0 || input + 32 * u >= group_end) {
              source.group(r + p * kLanes, valid, input + 32 * u, &scale, &offset);
              group_end = span_end(source.layout, input + 32 * u, last, last);
            }
            source.codes(r + p * kLanes, valid, input + 32 * u, q);
#pragma GCC unroll 8
            for (int i = 0; i < kCodesOfUnit; i++) v_store(at + i * kLanes * 4, q[i]);
            f_store(reinterpret_cast<float*>(at + kCodesOfUnit * kLanes * 4), scale);
            v_store(at + (kCodesOfUnit + 1) * kLanes * 4, offset);
          }
        }
        const bool whole = rows % kLanes == 0;
        float* const to = out + static_cast<int64_t>(t0) * out_stride + r - r0;
        float* const sums = whole ? to : tail;
        const int64_t stride = whole ? out_stride : kPanelsAtOnce * kLanes;
        for (int32_t t = 0; !whole && t < count; t++) {
          for (int i = 0; i < rows; i++) tail[t * stride + i] = to[t * out_stride + i];
        }
        for (int p = 0; p < panels; p += kPanelPairs) {
          const bool pair = kPanelPairs == 2 && p + 1 < panels;
          for (int i = 0, t = 0; i < tiles; i++) {
            const int width = (count - t + tiles - i - 1) / (tiles - i);
            const PanelFn fn = pair ? panel_fn<S, kPanelPairs>(width) : panel_fn<S, 1>(width);
            fn(panel + p * kUnitsPanel, units, packed, t, sums + t * stride + p * kLanes, stride);
            t += width;
          }
        }
        for (int32_t t = 0; !whole && t < count; t++) {
          for (int i = 0; i < rows; i++) to[t * out_stride + i] = tail[t * stride + i];
        }
      }
    }
  }
}

template <class S>
static void integers(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                     const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  const S source(layout, grid);
  uint8_t* const memory = static_cast<uint8_t*>(scratch);
  if (n > kFewTokens) many(source, r0, r1, acts, pick, n, out, out_stride, memory);
  else few(source, r0, r1, acts, pick, 0, n, out, out_stride, memory);
}

#include "units_scattered.inl"

// --- which source a layout is

#define HW_EACH_SOURCE(RUN)                                                                        \
  const LayoutForm& form = layout.form;                                                            \
  if (layout.by_inputs) {                                                                          \
    if (form.packing == PACKING_AWQ) return RUN<InputAwq>(HW_UNITS_ARGUMENTS);                     \
    switch (form.bits) {                                                                           \
      case 2: return RUN<InputWords<2>>(HW_UNITS_ARGUMENTS);                                       \
      case 3: return RUN<InputWords<3>>(HW_UNITS_ARGUMENTS);                                       \
      case 4: return RUN<InputWords<4>>(HW_UNITS_ARGUMENTS);                                       \
      default: return RUN<InputWords<8>>(HW_UNITS_ARGUMENTS);                                      \
    }                                                                                              \
  }                                                                                                \
  if (form.codes == CODES_E2M1) return RUN<RowWords<4, false, true>>(HW_UNITS_ARGUMENTS);          \
  if (form.codes == CODES_SIGNED) return RUN<RowWords<8, true, false>>(HW_UNITS_ARGUMENTS);        \
  if (form.bits == 4) return RUN<RowWords<4, false, false>>(HW_UNITS_ARGUMENTS);                   \
  return RUN<RowWords<8, false, false>>(HW_UNITS_ARGUMENTS)
#define HW_UNITS_ARGUMENTS layout, grid, r0, r1, acts, pick, n, out, out_stride, scratch

static void units_integers(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                           const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  HW_EACH_SOURCE(integers);
}

static void units_scattered(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                            const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  HW_EACH_SOURCE(scattered);
}

#undef HW_UNITS_ARGUMENTS
#undef HW_EACH_SOURCE
