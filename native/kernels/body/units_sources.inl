// How the codes of a unit of integers come into lanes, and the scales and offsets of its group: one source for each
// packing. Included by units_integers.inl, whose head says what the instruction set provides.

constexpr int kCodesOfUnit = 8;  // V, four codes a lane

// --- sources: how the codes of a unit come into lanes

// Place i of a unit's activations, for codes that come as words: see Words<Bits>::codes.
template <int Bits>
constexpr int word_order(int i) {
  return Bits == 4 ? i / 8 * 8 + (i % 8 < 4 ? 2 * (i % 4) : 2 * (i % 4) + 1)
                   : Bits == 2 ? i / 16 * 16 + 4 * (i % 4) + i % 16 / 4 : i;
}

struct Order {
  uint8_t at[16];
};
template <int Bits>
constexpr Order order_of() {
  Order made = {};
  for (int i = 0; i < 16; i++) made.at[i] = static_cast<uint8_t>(word_order<Bits>(i));
  return made;
}

// The codes in words of 32 bits, low bits first.
template <int Bits>
static inline __attribute__((always_inline)) void split_words(const V* word, V* q) {
  if constexpr (Bits == 4) {
    const V nibble = v_set32(0x0f0f0f0f);
#pragma GCC unroll 4
    for (int w = 0; w < 4; w++) {
      q[2 * w] = v_and(word[w], nibble);
      q[2 * w + 1] = v_and(v_srl<4>(word[w]), nibble);
    }
  } else if constexpr (Bits == 2) {
    const V two = v_set32(0x03030303);
#pragma GCC unroll 2
    for (int w = 0; w < 2; w++) {
      q[4 * w] = v_and(word[w], two);
      q[4 * w + 1] = v_and(v_srl<2>(word[w]), two);
      q[4 * w + 2] = v_and(v_srl<4>(word[w]), two);
      q[4 * w + 3] = v_and(v_srl<6>(word[w]), two);
    }
  } else if constexpr (Bits == 3) {
    // Twelve bits are four codes; two of the runs lie in two words.
    const V run[8] = {word[0], v_srl<12>(word[0]), v_or(v_srl<24>(word[0]), v_sll<8>(word[1])), v_srl<4>(word[1]),
                      v_srl<16>(word[1]), v_or(v_srl<28>(word[1]), v_sll<4>(word[2])), v_srl<8>(word[2]),
                      v_srl<20>(word[2])};
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      const V low = v_or(v_and(run[i], v_set32(7)), v_and(v_sll<5>(run[i]), v_set32(0x700)));
      const V high = v_or(v_and(v_sll<10>(run[i]), v_set32(0x70000)), v_and(v_sll<15>(run[i]), v_set32(0x7000000)));
      q[i] = v_or(low, high);
    }
  } else {
#pragma GCC unroll 8
    for (int w = 0; w < 8; w++) q[w] = word[w];
  }
}

// Codes as the dot product wants them, and what that adds to their offsets.
template <int Bits, bool kSignedCodes>
static inline __attribute__((always_inline)) void as_wanted(V* q) {
  if constexpr (Bits == 8 && kSignedCodes != kSignedBytes) {
    const V sign = v_set32(static_cast<int>(0x80808080u));
#pragma GCC unroll 8
    for (int i = 0; i < kCodesOfUnit; i++) q[i] = v_xor(q[i], sign);
  }
}
template <int Bits, bool kSignedCodes>
constexpr int32_t kMoved = Bits != 8 || kSignedCodes == kSignedBytes ? 0 : kSignedCodes ? 128 : -128;

struct Source {
  const Layout& layout;
  const UnitGrid& grid;
  UnitCells cells;
  Source(const Layout& l, const UnitGrid& g)
      : layout(l), grid(g), cells{l, g}, rows_(l.plane[kScalesPlane].rows == 1 && !l.plane[kScalesPlane].flat),
        offsets_(l.form.offsets != OFFSETS_CONSTANT && l.by_inputs && !l.plane[kOffsetsPlane].flat &&
                 l.plane[kOffsetsPlane].cols == l.plane[kScalesPlane].cols &&
                 l.plane[kOffsetsPlane].bytes * 8 == l.plane[kOffsetsPlane].rows * l.form.bits) {}

  // Scales and negated offsets, the latter in 16 bits, of the group of an input.
  // Not inlined: the walk of scattered groups has it once for each input of a unit.
  __attribute__((noinline)) void group_of(int64_t r, int valid, int64_t input, int32_t moved, F* scale,
                                          V* offset) const {
    const LayoutForm& form = layout.form;
    if (input < from_ || input >= to_) look_up(input);
    const int64_t stride = grid.row_stride[kScalesPlane];
    const uint8_t* const at = rows_ ? scales_ + r * stride : nullptr;
    if (rows_ && layout.by_inputs && form.scales == SCALES_F16) {
      *scale = f_halves(at, valid);
    } else if (rows_ && form.scales == SCALES_F16) {
      alignas(32) uint16_t s[kLanes] = {};
      for (int i = 0; i < valid; i++) s[i] = load_as<uint16_t>(at + i * stride);
      *scale = f_halves(reinterpret_cast<const uint8_t*>(s), kLanes);
    } else {
      alignas(64) float s[kLanes] = {};
      if (rows_ && form.scales == SCALES_BF16) {
        for (int i = 0; i < valid; i++) s[i] = bf16_to_float(load_as<uint16_t>(at + i * stride));
      } else if (rows_ && form.scales == SCALES_E8M0) {
        for (int i = 0; i < valid; i++) s[i] = e8m0_half_to_float(at[i * stride]);
      } else if (rows_ && form.scales == SCALES_F32) {
        for (int i = 0; i < valid; i++) s[i] = load_as<float>(at + i * stride) * form.factor;
      } else {
        for (int i = 0; i < valid; i++) s[i] = cells.scale(r + i, input);
      }
      *scale = f_load(s);
    }
    if (form.offsets == OFFSETS_CONSTANT) {
      *offset = v_set32(-(form.addend + moved) & 0xffff);
      return;
    }
    if (offsets_ && form.bits == 4 && r % 8 == 0 && valid % 8 == 0) {
      const V stored = v_nibbles(zeros_ + r / 2, valid, form.offsets == OFFSETS_AWQ);
      const V z = v_and(v_add32(stored, v_set32(form.addend)), v_set32(15));
      *offset = v_and(v_sub32(v_set32(0), z), v_set32(0xffff));
      return;
    }
    alignas(64) int32_t o[kLanes] = {};
    if (offsets_ && form.offsets != OFFSETS_AWQ && 8 % form.bits == 0) {
      const int32_t mask = (1 << form.bits) - 1;
      for (int i = 0; i < valid; i++) {
        const int64_t bit = (r + i) * form.bits;
        const int32_t z = ((zeros_[bit / 8] >> bit % 8) + form.addend) & mask;
        o[i] = -(z + moved) & 0xffff;
      }
    } else {
      for (int i = 0; i < valid; i++) o[i] = -(cells.offset(r + i, input) + moved) & 0xffff;
    }
    *offset = v_load(o);
  }

 protected:
  const bool rows_;     // the scales of rows follow each other by a stride
  const bool offsets_;  // the offsets of rows follow each other bit by bit
  // Of row 0, for the group of inputs [from_, to_): divisions that are not made again for each run of rows.
  mutable int64_t from_ = 0, to_ = 0;
  mutable const uint8_t *scales_ = nullptr, *zeros_ = nullptr;

  const uint8_t* row_0(int plane, int64_t input) const {
    const PlaneLayout& p = layout.plane[plane];
    const int64_t across = p.whole ? input : input - grid.first_input;
    const int64_t first = p.whole || p.rows == 0 ? 0 : grid.first_row / p.rows;
    return grid.at[plane] + (p.cols == 0 ? 0 : across / p.cols * grid.input_stride[plane]) -
           first * grid.row_stride[plane];
  }
  void look_up(int64_t input) const {
    const int64_t group = layout.plane[kScalesPlane].cols;
    from_ = group == 0 ? 0 : input / group * group;
    to_ = group == 0 ? INT64_MAX : from_ + group;
    if (rows_) scales_ = row_0(kScalesPlane, input);
    if (offsets_) zeros_ = row_0(kOffsetsPlane, input);
  }
};

// By inputs: `Bits` words of 32 inputs of a row, all rows' first words, then the second ones.
template <int Bits>
struct InputWords : Source {
  static constexpr bool kWide = Bits == 8;
  static constexpr Order kOrder = order_of<Bits>();
  using Source::Source;
  inline __attribute__((always_inline)) void codes(int64_t r, int valid, int64_t unit, V* q) const {
    const uint8_t* at = grid.at[kValuesPlane] + 4 * ((unit - grid.first_input) / 32 * Bits * grid.all_rows + r);
    V word[8];
#pragma GCC unroll 8
    for (int w = 0; w < Bits; w++) word[w] = v_words(at + 4 * w * grid.all_rows, valid);
    split_words<Bits>(word, q);
    as_wanted<Bits, false>(q);
  }
  inline void group(int64_t r, int valid, int64_t input, F* scale, V* offset) const {
    group_of(r, valid, input, kMoved<Bits, false>, scale, offset);
  }
  // What the next unit's first word begins with, for as many rows.
  inline void fetch(int64_t r, int64_t unit) const {
    const uint8_t* at = grid.at[kValuesPlane] + 4 * ((unit - grid.first_input) / 32 * Bits * grid.all_rows + r);
    for (int w = 0; w < Bits; w++) v_prefetch(at + 4 * w * grid.all_rows);
  }
};

struct InputAwq : Source {
  static constexpr bool kWide = false;
  static constexpr Order kOrder = order_of<8>();
  using Source::Source;
  // Whether runs of kAwqRows go the way of units_awq.inl.
  inline bool wide(int64_t r) const { return r % 8 == 0 && offsets_ && layout.form.offsets == OFFSETS_AWQ; }
  inline const uint8_t* values(int64_t r, int64_t input) const {
    return grid.at[kValuesPlane] + (input - grid.first_input) * grid.input_stride[kValuesPlane] + r / 2;
  }
  inline __attribute__((always_inline)) void codes(int64_t r, int valid, int64_t unit, V* q) const {
    const int64_t stride = grid.input_stride[kValuesPlane];
    const uint8_t* at = grid.at[kValuesPlane] + (unit - grid.first_input) * stride + r / 2;
#pragma GCC unroll 8
    for (int i = 0; i < kCodesOfUnit; i++) q[i] = v_awq(at + 4 * i * stride, stride, valid);
  }
  inline void group(int64_t r, int valid, int64_t input, F* scale, V* offset) const {
    group_of(r, valid, input, 0, scale, offset);
  }
  // Of rows from `r` on, of the group that was asked for last.
  inline const uint8_t* zeros(int64_t r) const { return zeros_ + r / 2; }
  inline void fetch(int64_t, int64_t) const {}
};

// In the order of rows; kBook: codes are entries of E2M1, made unsigned by 12 or signed as they are.
template <int Bits, bool kSignedCodes, bool kBook>
struct RowWords : Source {
  static constexpr bool kWide = Bits == 8 || (kBook && kSignedBytes);
  static constexpr Order kOrder = order_of<Bits>();
  static constexpr int32_t kBookMoved = kBook && !kSignedBytes ? 12 : 0;
  using Source::Source;
  inline __attribute__((always_inline)) void codes(int64_t r, int valid, int64_t unit, V* q) const {
    const uint8_t* rows[kLanes];
    for (int i = 0; i < kLanes; i++) {
      const int64_t row = r - grid.first_row + (i < valid ? i : valid - 1);
      rows[i] = grid.at[kValuesPlane] + row * grid.row_stride[kValuesPlane];
    }
    V word[8];
    v_load_quads(rows, unit / 32 * 4 * Bits, word);
    if (Bits == 8) v_load_quads(rows, unit / 32 * 4 * Bits + 16, word + 4);
    split_words<Bits>(word, q);
    as_wanted<Bits, kSignedCodes>(q);
    if constexpr (kBook) {
      const V table = v_add8(v_table(kValuesMXFP4), v_set32(kBookMoved * 0x01010101));
#pragma GCC unroll 8
      for (int i = 0; i < kCodesOfUnit; i++) q[i] = v_lut(table, q[i]);
    }
  }
  inline void group(int64_t r, int valid, int64_t input, F* scale, V* offset) const {
    group_of(r, valid, input, kMoved<Bits, kSignedCodes> + kBookMoved, scale, offset);
  }
  inline void fetch(int64_t, int64_t) const {}
};
