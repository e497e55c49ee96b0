// Panels of the types with code books and of the ternary ones; see gemm_unpack.inl. On top of its vocabulary the ISA
// provides
//   v_gather(book, index)       entries of 4 bytes
//   v_negate_where(v, a, b)     -v in the bytes where a & b is not zero
//
// Weights come out signed and small: unsigned ones have kOffset added; where activations are unsigned (kSixteenBit)
// they stay.

// Offsets that make the weights of a type bytes as the dot product takes them.
constexpr int offset_of(int least) { return kSignedBytes ? 0 : least; }

template <int Bytes, int Offset, int GroupQuads, int Run>
struct GridShape : Shape<256, Bytes, offset_of(Offset), 0, GroupQuads, Run, false, kSixteenBit> {
  typedef Shape<256, Bytes, offset_of(Offset), 0, GroupQuads, Run, false, kSixteenBit> Base;

  // Signed weights of a quad of group g, whose scale is in the panel.
  template <class S>
  static inline HW_INLINE void put_signed(S& sink, uint8_t* panel, V& init, int g, int quad, V v) {
    if (kSixteenBit) {
      init = v_add_scaled(init, v, v_load(panel + Base::kScaleAt + kVec * g));
    } else if (!kSignedBytes) {
      v = v_add8(v, v_set32(Offset * 0x01010101));
    }
    sink.put(panel, quad, v);
  }
  // Stored scales s count as 2 s + 1.
  static inline HW_INLINE void put_scale(uint8_t* panel, int g, V s) {
    v_store(panel + Base::kScaleAt + kVec * g, as_scale(v_add32(v_add32(s, s), v_set32(1))));
  }
  static inline HW_INLINE void put_d(uint8_t* panel, V half, float unit) {
    v_half(panel + Base::kD, half);
    float* const d = reinterpret_cast<float*>(panel + Base::kD);
    for (int i = 0; i < kLanes; i++) d[i] *= unit;
  }
  static inline HW_INLINE void finish(uint8_t* panel, V init) {
    if (kSixteenBit) v_store(panel + Base::kInit, v_times_minus_128(init));
  }
};

static const int8_t kOddBits[16] = {0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0};

// Four times 7 sign bits to four bytes with the eighth that makes the minus signs even.
static inline V even_signs(V w) {
  const V seven = v_or(v_or(v_and(w, v_set32(0x7f)), v_and(v_sll<1>(w), v_set32(0x7f00))),
                       v_or(v_and(v_sll<2>(w), v_set32(0x7f0000)), v_and(v_sll<3>(w), v_set32(0x7f000000))));
  const V folded = v_and(v_xor(seven, v_srl<4>(seven)), v_set32(0x0f0f0f0f));
  return v_or(seven, v_lut(v_table(kOddBits), folded));
}

template <int L>
static inline V signs_of(V signs) {
  return v_spread_byte<L>(signs);
}

// The two quads of an entry of 8 values: byte L of `signs` has a bit for each.
template <class P, int L, class S>
static inline HW_INLINE void put_entry(S& sink, uint8_t* panel, V& init, int g, int quad, V low, V high, V signs) {
  const V s = signs_of<L>(signs);
  P::put_signed(sink, panel, init, g, quad, v_negate_where(low, s, v_set32(0x08040201)));
  P::put_signed(sink, panel, init, g, quad + 1, v_negate_where(high, s, v_set32(static_cast<int>(0x80402010u))));
}

// Entries of 8 values of `book` at `index`, which counts entries.
template <class P, int L, class S>
static inline HW_INLINE void put_eight(S& sink, uint8_t* panel, V& init, int g, int quad, const uint64_t* book, V index,
                                       V signs) {
  const uint32_t* const halves = reinterpret_cast<const uint32_t*>(book);
  const V twice = v_sll<1>(index);
  put_entry<P, L>(sink, panel, init, g, quad, v_gather(halves, twice), v_gather(halves + 1, twice), signs);
}

struct PanelIQ2_XXS : GridShape<66, 43, 8, 1> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    V init = v_set32(0), q[4];
    w.quads(0, q);
    put_d(panel, q[0], 0.125f);
    for (int i = 0; i < 4; i++) {
      w.quads(2 + 16 * i, q);
      for (int j = 0; j < 2; j++) {
        const int g = 2 * i + j;
        const V index = q[2 * j], word = q[2 * j + 1], signs = even_signs(word);
        put_scale(panel, g, v_srl<28>(word));
        sink.open(g);
        put_eight<PanelIQ2_XXS, 0>(sink, panel, init, g, 8 * g, kGridIQ2_XXS.entry, byte_of(index, 0), signs);
        put_eight<PanelIQ2_XXS, 1>(sink, panel, init, g, 8 * g + 2, kGridIQ2_XXS.entry, byte_of(index, 1), signs);
        put_eight<PanelIQ2_XXS, 2>(sink, panel, init, g, 8 * g + 4, kGridIQ2_XXS.entry, byte_of(index, 2), signs);
        put_eight<PanelIQ2_XXS, 3>(sink, panel, init, g, 8 * g + 6, kGridIQ2_XXS.entry, byte_of(index, 3), signs);
        sink.close(panel, g);
      }
    }
    finish(panel, init);
  }
};

// The nibbles of eight bytes of scales, two words, to 16 groups.
template <class P>
static inline void put_nibble_scales(uint8_t* panel, const V* words) {
  for (int g = 0; g < 16; g++) {
    const V both = byte_of(words[g / 8], g / 2 % 4);
    P::put_scale(panel, g, g % 2 ? v_srl<4>(both) : v_and(both, v_set32(15)));
  }
}

struct PanelIQ2_XS : GridShape<74, 43, 4, 1> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V nine = v_set32(511);
    V init = v_set32(0), q[4];
    w.quads(0, q);
    put_d(panel, q[0], 0.125f);
    w.quads(58, q);
    put_nibble_scales<PanelIQ2_XS>(panel, q + 2);
    for (int i = 0; i < 4; i++) {
      w.quads(2 + 16 * i, q);
      for (int j = 0; j < 4; j++) {  // two entries: a group of 16 values
        const int g = 4 * i + j;
        // 7 sign bits of each of the two words, to the fields of even_signs.
        const V signs = even_signs(v_or(v_and(v_srl<9>(q[j]), v_set32(127)), v_and(v_srl<18>(q[j]), v_set32(0x3f80))));
        sink.open(g);
        put_eight<PanelIQ2_XS, 0>(sink, panel, init, g, 4 * g, kGridIQ2_XS.entry, v_and(q[j], nine), signs);
        put_eight<PanelIQ2_XS, 1>(sink, panel, init, g, 4 * g + 2, kGridIQ2_XS.entry, v_and(v_srl<16>(q[j]), nine),
                                  signs);
        sink.close(panel, g);
      }
    }
    finish(panel, init);
  }
};

struct PanelIQ2_S : GridShape<82, 43, 4, 1> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    V init = v_set32(0), tail[4], q[4], s[4];
    w.quads(0, q);
    put_d(panel, q[0], 0.125f);
    w.quads(66, tail);
    put_nibble_scales<PanelIQ2_S>(panel, tail + 2);
    for (int i = 0; i < 2; i++) {
      w.quads(2 + 16 * i, q);
      w.quads(34 + 16 * i, s);
      V high = v_sll<8>(tail[i]);  // bits 8 and 9 belong to the entry at hand
      for (int j = 0; j < 4; j++) {
        const int g = 8 * i + 2 * j;
        const auto index = [&](int l) {
          const V at = v_or(byte_of(q[j], l), v_and(high, v_set32(0x300)));
          high = v_srl<2>(high);
          return at;
        };
        if (j == 3) high = v_sll<8>(v_srl<24>(tail[i]));  // what the shift above pushed out
        sink.open(g);
        put_eight<PanelIQ2_S, 0>(sink, panel, init, g, 4 * g, kGridIQ2_S.entry, index(0), s[j]);
        put_eight<PanelIQ2_S, 1>(sink, panel, init, g, 4 * g + 2, kGridIQ2_S.entry, index(1), s[j]);
        sink.close(panel, g);
        sink.open(g + 1);
        put_eight<PanelIQ2_S, 2>(sink, panel, init, g + 1, 4 * g + 4, kGridIQ2_S.entry, index(2), s[j]);
        put_eight<PanelIQ2_S, 3>(sink, panel, init, g + 1, 4 * g + 6, kGridIQ2_S.entry, index(3), s[j]);
        sink.close(panel, g + 1);
      }
    }
    finish(panel, init);
  }
};

struct PanelIQ3_XXS : GridShape<98, 62, 8, 1> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const uint32_t* const book = kGridIQ3_XXS.entry;
    V init = v_set32(0), q[4], words[8];
    w.quads(0, q);
    put_d(panel, q[0], 0.25f);
    w.quads(66, words);
    w.quads(82, words + 4);
    for (int i = 0; i < 4; i++) {
      w.quads(2 + 16 * i, q);
      for (int j = 0; j < 2; j++) {
        const int g = 2 * i + j;
        const V a = q[2 * j], b = q[2 * j + 1], signs = even_signs(words[g]);
        put_scale(panel, g, v_srl<28>(words[g]));
        sink.open(g);
        put_entry<PanelIQ3_XXS, 0>(sink, panel, init, g, 8 * g, v_gather(book, byte_of(a, 0)),
                                   v_gather(book, byte_of(a, 1)), signs);
        put_entry<PanelIQ3_XXS, 1>(sink, panel, init, g, 8 * g + 2, v_gather(book, byte_of(a, 2)),
                                   v_gather(book, byte_of(a, 3)), signs);
        put_entry<PanelIQ3_XXS, 2>(sink, panel, init, g, 8 * g + 4, v_gather(book, byte_of(b, 0)),
                                   v_gather(book, byte_of(b, 1)), signs);
        put_entry<PanelIQ3_XXS, 3>(sink, panel, init, g, 8 * g + 6, v_gather(book, byte_of(b, 2)),
                                   v_gather(book, byte_of(b, 3)), signs);
        sink.close(panel, g);
      }
    }
    finish(panel, init);
  }
};

struct PanelIQ3_S : GridShape<110, 15, 8, 4> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const uint32_t* const book = kGridIQ3_S.entry;
    const V ninth = v_set32(256);
    V init = v_set32(0), q[4], high[4], signs[8], scales[4];
    w.quads(0, q);
    put_d(panel, q[0], 1.0f);
    w.quads(66, high);
    w.quads(74, signs);
    w.quads(90, signs + 4);
    w.quads(94, scales);
    for (int g = 0; g < 8; g++) {
      const V both = byte_of(scales[3], g / 2);
      put_scale(panel, g, g % 2 ? v_srl<4>(both) : v_and(both, v_set32(15)));
    }
    for (int i = 0; i < 4; i++) {
      w.quads(2 + 16 * i, q);
      for (int j = 0; j < 2; j++) {
        const int g = 2 * i + j;
        const V a = q[2 * j], b = q[2 * j + 1], bits = byte_of(high[g / 4], g % 4), s = signs[g];
        sink.open(g);
        put_entry<PanelIQ3_S, 0>(sink, panel, init, g, 8 * g,
                                 v_gather(book, v_or(byte_of(a, 0), v_and(v_sll<8>(bits), ninth))),
                                 v_gather(book, v_or(byte_of(a, 1), v_and(v_sll<7>(bits), ninth))), s);
        put_entry<PanelIQ3_S, 1>(sink, panel, init, g, 8 * g + 2,
                                 v_gather(book, v_or(byte_of(a, 2), v_and(v_sll<6>(bits), ninth))),
                                 v_gather(book, v_or(byte_of(a, 3), v_and(v_sll<5>(bits), ninth))), s);
        put_entry<PanelIQ3_S, 2>(sink, panel, init, g, 8 * g + 4,
                                 v_gather(book, v_or(byte_of(b, 0), v_and(v_sll<4>(bits), ninth))),
                                 v_gather(book, v_or(byte_of(b, 1), v_and(v_sll<3>(bits), ninth))), s);
        put_entry<PanelIQ3_S, 3>(sink, panel, init, g, 8 * g + 6,
                                 v_gather(book, v_or(byte_of(b, 2), v_and(v_sll<2>(bits), ninth))),
                                 v_gather(book, v_or(byte_of(b, 3), v_and(v_sll<1>(bits), ninth))), s);
        sink.close(panel, g);
      }
    }
    finish(panel, init);
  }
};

// IQ1: 8 (entry - 1) - 9 where `minus` is set, - 7 where not.
template <class P, class S>
static inline HW_INLINE void put_shifted(S& sink, uint8_t* panel, V& init, int g, int quad, V index, V minus) {
  const uint32_t* const halves = reinterpret_cast<const uint32_t*>(kGridIQ1.entry);
  const V twice = v_sll<1>(index);
  const V shift = v_select(minus, v_set32(static_cast<int>(0xf7f7f7f7u)), v_set32(static_cast<int>(0xf9f9f9f9u)));
  P::put_signed(sink, panel, init, g, quad, v_add8(v_sll<3>(v_gather(halves, twice)), shift));
  P::put_signed(sink, panel, init, g, quad + 1, v_add8(v_sll<3>(v_gather(halves + 1, twice)), shift));
}

struct PanelIQ1_S : GridShape<50, 9, 8, 4> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V three = v_set32(0x700);
    V init = v_set32(0), q[8], high[4];
    w.quads(0, q);
    put_d(panel, q[0], 0.125f);
    w.quads(2, q);
    w.quads(18, q + 4);
    w.quads(34, high);
    for (int g = 0; g < 8; g++) {
      const V word = g % 2 ? v_srl<16>(high[g / 2]) : high[g / 2];
      const V minus = v_gt32(v_and(word, v_set32(0x8000)), v_set32(0));
      put_scale(panel, g, v_and(v_srl<12>(word), v_set32(7)));
      sink.open(g);
      put_shifted<PanelIQ1_S>(sink, panel, init, g, 8 * g, v_or(byte_of(q[g], 0), v_and(v_sll<8>(word), three)), minus);
      put_shifted<PanelIQ1_S>(sink, panel, init, g, 8 * g + 2, v_or(byte_of(q[g], 1), v_and(v_sll<5>(word), three)),
                              minus);
      put_shifted<PanelIQ1_S>(sink, panel, init, g, 8 * g + 4, v_or(byte_of(q[g], 2), v_and(v_sll<2>(word), three)),
                              minus);
      put_shifted<PanelIQ1_S>(sink, panel, init, g, 8 * g + 6, v_or(byte_of(q[g], 3), v_and(v_srl<1>(word), three)),
                              minus);
      sink.close(panel, g);
    }
    finish(panel, init);
  }
};

struct PanelIQ1_M : GridShape<56, 9, 4, 4> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V three = v_set32(0x700), none = v_set32(0), low4 = v_set32(15);
    V init = none, q[8], high[4], tail[4];
    w.quads(0, q);
    w.quads(16, q + 4);
    w.quads(32, high);
    w.quads(40, tail);
    const V a = tail[2], b = tail[3];
    put_d(panel, v_or(v_or(v_and(v_srl<12>(a), low4), v_and(v_srl<24>(a), v_set32(0xf0))),
                      v_or(v_and(v_srl<4>(b), v_set32(0xf00)), v_and(v_srl<16>(b), v_set32(0xf000)))), 0.125f);
    for (int g = 0; g < 16; g++) {
      const V pair = tail[2 + g / 8], word = g / 4 % 2 ? v_srl<16>(pair) : pair;
      const V s = g % 4 == 0 ? word : g % 4 == 1 ? v_srl<3>(word) : g % 4 == 2 ? v_srl<6>(word) : v_srl<9>(word);
      put_scale(panel, g, v_and(s, v_set32(7)));
      const V nibbles = byte_of(high[g / 4], g % 4), index = g % 2 ? v_srl<16>(q[g / 2]) : q[g / 2];
      sink.open(g);
      put_shifted<PanelIQ1_M>(sink, panel, init, g, 4 * g, v_or(byte_of(index, 0), v_and(v_sll<8>(nibbles), three)),
                              v_gt32(v_and(nibbles, v_set32(8)), none));
      put_shifted<PanelIQ1_M>(sink, panel, init, g, 4 * g + 2, v_or(byte_of(index, 1), v_and(v_sll<4>(nibbles), three)),
                              v_gt32(v_and(nibbles, v_set32(128)), none));
      sink.close(panel, g);
    }
    finish(panel, init);
  }
};

// One scale for all: groups only where the dot product wants them for its 16-bit sums.
constexpr int kTernaryGroup = kSixteenBit ? 8 : 64;

template <int Bytes>
struct TernaryShape : GridShape<Bytes, 1, kTernaryGroup, 8> {
  typedef GridShape<Bytes, 1, kTernaryGroup, 8> Grid;
  static inline HW_INLINE void put_ones(uint8_t* panel) {
    for (int g = 0; g < Grid::kGroups; g++) v_store(panel + Grid::kScaleAt + kVec * g, as_scale(v_set32(1)));
  }
  template <class S>
  static inline HW_INLINE void put_digit(S& sink, uint8_t* panel, V& init, int quad, V v) {
    Grid::put_signed(sink, panel, init, quad / 8, quad, v_add8(v, v_set32(-1)));
  }
};

struct PanelTQ2_0 : TernaryShape<66> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V two = v_set32(0x03030303);
    V init = v_set32(0), q[8];
    w.quads(50, q);
    put_d(panel, v_srl<16>(q[3]), 1.0f);
    put_ones(panel);
    for (int h = 0; h < 2; h++) {
      w.quads(32 * h, q);
      w.quads(32 * h + 16, q + 4);
      for (int j = 0; j < 4; j++) {
        const int g = 4 * h + j;
        sink.open(g);
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
          put_digit(sink, panel, init, 8 * g + i, v_and(q[i], two));
          q[i] = v_srl<2>(q[i]);
        }
        sink.close(panel, g);
      }
    }
    finish(panel, init);
  }
};

// Fractions of 256 in the even and in the odd bytes of a word: their next digits to the base of 3.
struct Ternaries {
  V even, odd;
  explicit HW_INLINE Ternaries(V v)
      : even(v_and(v, v_set32(0x00ff00ff))), odd(v_and(v_srl<8>(v), v_set32(0x00ff00ff))) {}
  Ternaries() = default;
  inline HW_INLINE V next() {
    const V a = v_add16(even, v_sll16<1>(even)), b = v_add16(odd, v_sll16<1>(odd)), bytes = v_set32(0x00ff00ff);
    even = v_and(a, bytes);
    odd = v_and(b, bytes);
    return v_or(v_and(v_srl<8>(a), v_set32(0x00030003)), v_and(b, v_set32(0x03000300)));
  }
};

struct PanelTQ1_0 : TernaryShape<54> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    V init = v_set32(0), q[8];
    w.quads(38, q);
    put_d(panel, v_srl<16>(q[3]), 1.0f);
    Ternaries last(v_or(v_srl<16>(q[2]), v_sll<16>(q[3])));
    put_ones(panel);
    w.quads(0, q);
    w.quads(16, q + 4);
    Ternaries first[8], second[4];
    for (int i = 0; i < 8; i++) first[i] = Ternaries(q[i]);
    for (int g = 0; g < 5; g++) {
      sink.open(g);
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) put_digit(sink, panel, init, 8 * g + i, first[i].next());
      sink.close(panel, g);
    }
    w.quads(32, q);
    for (int i = 0; i < 4; i++) second[i] = Ternaries(q[i]);
    for (int g = 5; g < 8; g++) {
      sink.open(g);
      for (int n = 0; n < 2; n++) {
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          put_digit(sink, panel, init, 8 * g + 4 * n + i, g == 7 && n == 1 ? last.next() : second[i].next());
        }
      }
      sink.close(panel, g);
    }
    finish(panel, init);
  }
};
