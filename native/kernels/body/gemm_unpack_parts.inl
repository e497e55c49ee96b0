// Panels of the types whose blocks hold 64 or 128 values: a panel is made of 32 of them, part `w.part` of the block;
// see gemm_unpack.inl.

// 64 values, four neighbours in a byte, minus 1.
struct PanelQ2_0 : Shape<32, 18, 1, 0, 8, 8> {
  static constexpr int kParts = 2;
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    V head[4], q[4];
    w.quads(0, head);
    w.quads(2, q);
    v_half(panel + kD, head[0]);
    const V words[2] = {w.part ? q[2] : q[0], w.part ? q[3] : q[1]};
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      const V b = byte_of(words[i / 4], i % 4);
      const V spread = v_or(v_or(b, v_sll<6>(b)), v_or(v_sll<12>(b), v_sll<18>(b)));
      sink.put(panel, i, v_and(spread, v_set32(0x03030303)));
    }
  }
};

// 128 values of one bit: 2 where it is set, minus 1.
struct PanelQ1_0 : Shape<32, 18, 1, 0, 8, 8> {
  static constexpr int kParts = 4;
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    V head[4], q[4];
    w.quads(0, head);
    w.quads(2, q);
    v_half(panel + kD, head[0]);
    V bits = w.part == 0 ? q[0] : w.part == 1 ? q[1] : w.part == 2 ? q[2] : q[3];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      const V n = v_and(bits, v_set32(15));
      const V spread = v_or(v_or(v_sll<1>(n), v_sll<8>(n)), v_or(v_sll<15>(n), v_sll<22>(n)));
      sink.put(panel, i, v_and(spread, v_set32(0x02020202)));
      bits = v_srl<4>(bits);
    }
  }
};

// 64 values with four scales: d is that of the first 16 of a part, m that of the others.
struct PanelNVFP4 : Shape<32, 36, 12, 0, 4, 4, false, false, true> {
  static constexpr int kParts = 2;

  // Half of an unsigned E4M3 number in every lane: see half.h.
  static inline void put_scale(uint8_t* at, V bytes) {
    const V code = v_and(bytes, v_set32(127));
    v_store(at, v_add32(v_sll<20>(code), v_set32(119 << 23)));
    alignas(64) uint32_t codes[kLanes];
    v_store(reinterpret_cast<uint8_t*>(codes), code);
    float* const d = reinterpret_cast<float*>(at);
    for (int i = 0; i < kLanes; i++) {
      if (codes[i] < 8) d[i] = static_cast<float>(codes[i]) * 0x1p-10f;
      if (codes[i] == 127) d[i] = 0;
    }
  }
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V nibble = v_set32(0x0f0f0f0f), table = v_add8(v_table(kValuesMXFP4), v_set32(0x0c0c0c0c));
    V head[4], q[4];
    w.quads(0, head);
    w.quads(4 + 16 * w.part, q);
    const V scales = w.part ? v_srl<16>(head[0]) : head[0];
    put_scale(panel + kD, scales);
    put_scale(panel + kM, v_srl<8>(scales));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
      const int at = i / 2 * 4 + i % 2;
      sink.put(panel, at, v_lut(table, v_and(q[i], nibble)));
      sink.put(panel, at + 2, v_lut(table, v_and(v_srl<4>(q[i]), nibble)));
    }
  }
};
