// Integers whose inputs each name a group (act-order), or whose groups are shorter than a unit: every input has a scale
// and an offset of its own, and its product is added by an fma of its own. Scales and offsets of the groups that a
// piece names are put side by side once for a run of output rows; what is left of an input is a shift, a mask that
// takes the offset in, a product, a conversion, a multiplication and the fma. Included by units_integers.inl.

constexpr int kRunVectors = 8;       // vectors of output rows that share a table
constexpr int kScatteredTokens = 4;  // token rows for which a code is taken out once
constexpr int kSlotBytes = 2 * kRunVectors * kLanes * 4;
constexpr int32_t kTokensAtOnce = 256;
constexpr int64_t kKnownGroups = 8192;  // of more groups each input has a slot of its own
constexpr int64_t kScatteredUnits = 512;

// What lies in scratch: activations of a unit, the slot of each group, that of each input, the slots.
struct ScatteredRoom {
  int32_t* acts;    // [tokens][32], in both halves of a word
  int32_t* known;   // [groups], -1: none yet
  int32_t* slots;   // [inputs], in bytes
  int64_t* groups;  // [slots], an input of it
  uint8_t* table;   // [slots][vectors] scales, then offsets in the upper half of a word
  int64_t most;     // slots
};

static ScatteredRoom scattered_room(uint8_t* at) {
  ScatteredRoom room;
  uint8_t* const end = at + kScratchBytes;
  room.acts = reinterpret_cast<int32_t*>(at);
  at += int64_t{kTokensAtOnce} * kUnitInputs * 4;
  room.known = reinterpret_cast<int32_t*>(at);
  at += kKnownGroups * 4;
  room.slots = reinterpret_cast<int32_t*>(at);
  at += kScatteredUnits * kUnitInputs * 4;
  room.most = (end - at) / (kSlotBytes + 8) / 8 * 8;
  room.groups = reinterpret_cast<int64_t*>(at);
  room.table = at + room.most * 8;
  return room;
}

// Where place `place` of a unit lies: places are in the order of words, inputs ascend.
template <class S>
constexpr int place_of(int input) {
  for (int i = 0; i < 16; i++) {
    if (S::kOrder.at[i] == input % 16) return i + input / 16 * 16;
  }
  return -1;
}

// The code of an input, in the lower half of a word.
template <class S, int kInput>
static inline __attribute__((always_inline)) V code_of(const V* q) {
  constexpr int place = place_of<S>(kInput);
  const V four = q[place / 4];
  if constexpr (S::kWide && kSignedBytes) {
    return v_and(v_byte(four, place % 4, true), v_set32(0xffff));
  } else if constexpr (place % 4 == 3) {
    return v_srl<24>(four);
  } else if constexpr (place % 4 == 0) {
    return v_and(four, v_set32(255));
  } else {
    return v_and(v_srl<8 * (place % 4)>(four), v_set32(255));
  }
}

// Inputs from kInput on, ascending.
template <class S, int T, int kInput>
static inline __attribute__((always_inline)) void add_inputs(const V* q, const uint8_t* table, const int32_t* slots,
                                                             const int32_t* acts, const F* d, F* acc) {
  const uint8_t* const slot = table + slots[kInput];
  const F scale = f_load(reinterpret_cast<const float*>(slot));
  const V both = v_or(code_of<S, kInput>(q), v_load(slot + kLanes * 4));
#pragma GCC unroll 4
  for (int t = 0; t < T; t++) {
    const V product = v_pairs(both, v_four(acts + t * kUnitInputs + kInput));
    acc[t] = f_fma(f_mul(scale, d[t]), f_of(product), acc[t]);
  }
  if constexpr (kInput + 1 < kUnitInputs) add_inputs<S, T, kInput + 1>(q, table, slots, acts, d, acc);
}

template <class S, int T>
static void scattered_unit(const S& source, int64_t r, int valid, int64_t unit, const uint8_t* table,
                           const int32_t* slots, const int32_t* acts, const float* const* scales, float* out,
                           int64_t out_stride) {
  V q[kCodesOfUnit];
  source.codes(r, valid, unit, q);
  F d[T], acc[T];
#pragma GCC unroll 4
  for (int t = 0; t < T; t++) {
    d[t] = f_set(scales[t] + unit / kUnitInputs);
    acc[t] = f_load_n(out + t * out_stride, valid);
  }
  add_inputs<S, T, 0>(q, table, slots, acts, d, acc);
#pragma GCC unroll 4
  for (int t = 0; t < T; t++) f_store_n(out + t * out_stride, acc[t], valid);
}

// Gives the inputs of units from `first` on slots, as many units as there are slots for.  @return the end
template <class S>
static int64_t take_slots(const S& source, int32_t index, int64_t first, int64_t last, const ScatteredRoom& room,
                          int64_t* count) {
  const int64_t size = source.layout.plane[kScalesPlane].cols;
  const int64_t groups = (source.grid.all_inputs - 1) / size + 1;
  const bool known = groups <= kKnownGroups;
  for (int64_t g = 0; known && g < groups; g++) room.known[g] = -1;
  *count = 0;
  int64_t unit = first;
  for (; unit < last && unit - first < kScatteredUnits * kUnitInputs; unit += kUnitInputs) {
    if (*count + kUnitInputs > room.most) break;
    for (int64_t input = unit; input < unit + kUnitInputs; input++) {
      const int64_t group = source.cells.group_input(input, index);
      int32_t slot = known ? room.known[group / size] : -1;
      if (slot < 0) {
        slot = static_cast<int32_t>(*count);
        room.groups[(*count)++] = group;
        if (known) room.known[group / size] = slot;
      }
      room.slots[input - first] = slot * kSlotBytes;
    }
  }
  return unit;
}

template <class S>
static void scattered(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                      const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  const S source(layout, grid);
  const int32_t index = index_plane(layout);
  const ScatteredRoom room = scattered_room(static_cast<uint8_t*>(scratch));
  const int64_t last = grid.first_input + grid.inputs;
  for (int32_t t0 = 0; t0 < n; t0 += kTokensAtOnce) {
    const int32_t tokens = n - t0 < kTokensAtOnce ? n - t0 : kTokensAtOnce;
    for (int64_t first = grid.first_input, end; first < last; first = end) {
      int64_t count;
      end = take_slots(source, index, first, last, room, &count);
      for (int64_t run = r0; run < r1; run += kRunVectors * kLanes) {
        const int64_t run_end = run + kRunVectors * kLanes < r1 ? run + kRunVectors * kLanes : r1;
        for (int64_t slot = 0; slot < count; slot++) {
          uint8_t* at = room.table + slot * kSlotBytes;
          for (int64_t r = run; r < run_end; r += kLanes, at += 2 * kLanes * 4) {
            F scale;
            V offset;
            source.group(r, static_cast<int>(run_end - r < kLanes ? run_end - r : kLanes), room.groups[slot], &scale,
                         &offset);
            f_store(reinterpret_cast<float*>(at), scale);
            v_store(at + kLanes * 4, v_sll<16>(offset));
          }
        }
        for (int64_t unit = first; unit < end; unit += kUnitInputs) {
          for (int32_t t = 0; t < tokens; t++) {
            const int8_t* const a = acts.q + (pick != nullptr ? pick[t0 + t] : t0 + t) * acts.q_stride + unit;
            for (int i = 0; i < kUnitInputs; i++) {
              room.acts[t * kUnitInputs + i] = static_cast<int32_t>((a[i] & 0xffffu) * 0x10001u);
            }
          }
          const uint8_t* table = room.table;
          for (int64_t r = run; r < run_end; r += kLanes, table += 2 * kLanes * 4) {
            if (unit + kUnitInputs < end) source.fetch(r, unit + kUnitInputs);
            const int valid = static_cast<int>(run_end - r < kLanes ? run_end - r : kLanes);
            for (int32_t t = 0; t < tokens; t += kScatteredTokens) {
              const int32_t now = tokens - t < kScatteredTokens ? tokens - t : kScatteredTokens;
              const float* scales[kScatteredTokens];
              for (int i = 0; i < now; i++) {
                const int64_t row = pick != nullptr ? pick[t0 + t + i] : t0 + t + i;
                scales[i] = acts.d + row * acts.d_stride;
              }
              const int32_t* const slots = room.slots + (unit - first);
              const int32_t* const a = room.acts + t * kUnitInputs;
              float* const to = out + static_cast<int64_t>(t0 + t) * out_stride + r - r0;
              if (now == kScatteredTokens) {
                scattered_unit<S, kScatteredTokens>(source, r, valid, unit, table, slots, a, scales, to, out_stride);
                continue;
              }
              for (int i = 0; i < now; i++) {
                scattered_unit<S, 1>(source, r, valid, unit, table, slots, a + i * kUnitInputs, scales + i,
                                     to + i * out_stride, out_stride);
              }
            }
          }
        }
      }
    }
  }
}
