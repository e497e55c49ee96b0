// Panels of the types with 32-value blocks; see gemm_unpack.inl.

struct PanelQ4_0 : Shape<32, 18, 8, 0, 8, 8> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V nibble = v_set32(0x0f0f0f0f);
    V q[4];
    w.quads(2, q);
    v_half(panel + kD, w.odd());
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      sink.put(panel, i, v_and(q[i], nibble));
      sink.put(panel, 4 + i, v_and(v_srl<4>(q[i]), nibble));
    }
  }
};

struct PanelQ4_1 : Shape<32, 20, 0, 1, 8, 8> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V nibble = v_set32(0x0f0f0f0f);
    V head[4], q[4];
    w.quads(0, head);
    w.quads(4, q);
    v_half(panel + kD, head[0]);
    v_half(panel + kM, v_srl<16>(head[0]));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      sink.put(panel, i, v_and(q[i], nibble));
      sink.put(panel, 4 + i, v_and(v_srl<4>(q[i]), nibble));
    }
  }
};

// Q5_0 and Q5_1: bit e of the 32-bit word `high` is the fifth bit of element e.
template <class S>
static inline HW_INLINE void put_five_bits(uint8_t* panel, S& sink, V high, const V* q) {
  const V nibble = v_set32(0x0f0f0f0f);
  const V even = v_set32(0x08040201), odd = v_set32(static_cast<int>(0x80402010u));
  const V bytes[4] = {v_spread_byte<0>(high), v_spread_byte<1>(high), v_spread_byte<2>(high), v_spread_byte<3>(high)};
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    sink.put(panel, i, v_add_16_where(v_and(q[i], nibble), bytes[i / 2], i % 2 ? odd : even));
    sink.put(panel, 4 + i, v_add_16_where(v_and(v_srl<4>(q[i]), nibble), bytes[2 + i / 2], i % 2 ? odd : even));
  }
}

struct PanelQ5_0 : Shape<32, 22, 16, 0, 8, 4> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    V head[4], q[4];
    w.quads(W::kPacked ? 2 : 0, head);
    w.quads(6, q);
    v_half(panel + kD, W::kPacked ? w.odd() : head[0]);
    put_five_bits(panel, sink, W::kPacked ? head[0] : v_or(v_srl<16>(head[0]), v_sll<16>(head[1])), q);
  }
};

struct PanelQ5_1 : Shape<32, 24, 0, 1, 8, 4> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    V head[4], q[4];
    w.quads(0, head);
    w.quads(8, q);
    v_half(panel + kD, head[0]);
    v_half(panel + kM, v_srl<16>(head[0]));
    put_five_bits(panel, sink, head[1], q);
  }
};

struct PanelQ8_0 : Shape<32, 34, kOffset8, 0, 8, 8, true> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V sign = v_set32(kSign8);
    V q[8];
    w.quads(2, q);
    w.quads(18, q + 4);
    v_half(panel + kD, w.odd());
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) sink.put(panel, i, v_xor(q[i], sign));
  }
};

struct PanelIQ4_NL : Shape<32, 18, kOffset8, 0, 8, 8, true> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V nibble = v_set32(0x0f0f0f0f), sign = v_set32(kSign8);
    const V table = v_xor(v_table(kValuesIQ4NL), sign);
    V q[4];
    w.quads(2, q);
    v_half(panel + kD, w.odd());
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      sink.put(panel, i, v_lut(table, v_and(q[i], nibble)));
      sink.put(panel, 4 + i, v_lut(table, v_and(v_srl<4>(q[i]), nibble)));
    }
  }
};

struct PanelMXFP4 : Shape<32, 17, 12, 0, 8, 4> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V nibble = v_set32(0x0f0f0f0f);
    const V table = v_add8(v_table(kValuesMXFP4), v_set32(0x0c0c0c0c));
    V q[4];
    w.quads(1, q);
    // 2^(e - 128) as float bits: normal from e = 2 on, 0x00200000 and 0x00400000 below.
    const V e = v_and(w.odd(), v_set32(255));
    const V normal = v_sll<23>(v_add32(e, v_set32(-1)));
    const V small = v_add32(v_set32(0x00200000), v_sll<21>(e));
    v_store(panel + kD, v_select(v_gt32(v_set32(2), e), small, normal));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      sink.put(panel, i, v_lut(table, v_and(q[i], nibble)));
      sink.put(panel, 4 + i, v_lut(table, v_and(v_srl<4>(q[i]), nibble)));
    }
  }
};
