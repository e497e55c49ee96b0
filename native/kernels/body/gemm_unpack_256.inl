// Panels of the types with 256-value blocks; see gemm_unpack.inl.

static inline void negate(float* f) {
  for (int i = 0; i < kLanes; i++) f[i] = -f[i];
}

// The eight 6-bit (scale, minimum) pairs of Q4_K and Q5_K from the block's first 16 bytes.
template <class P>
static inline void put_six_bit_scales(uint8_t* panel, const V* head) {
  const V low6 = v_set32(0x3f3f3f3f), low4 = v_set32(0x0f0f0f0f), top2 = v_set32(0x30303030);
  const V s0 = head[1], s1 = head[2], s2 = head[3];
  const V scale[2] = {v_and(s0, low6), v_or(v_and(s2, low4), v_and(v_srl<2>(s0), top2))};
  const V min[2] = {v_and(s1, low6), v_or(v_and(v_srl<4>(s2), low4), v_and(v_srl<2>(s1), top2))};
  for (int h = 0; h < 2; h++) {
    for (int i = 0; i < 4; i++) v_store(panel + P::kScaleAt + kVec * (4 * h + i), as_scale(byte_of(scale[h], i)));
    for (int i = 0; i < 2; i++) {
      v_store(panel + P::kMinsAt + kVec * (2 * h + i),
              v_or(byte_of(min[h], 2 * i), v_sll<16>(byte_of(min[h], 2 * i + 1))));
    }
  }
  v_half(panel + P::kD, head[0]);
  v_half(panel + P::kM, v_srl<16>(head[0]));
  negate(reinterpret_cast<float*>(panel + P::kM));
}

struct PanelQ4_K : Shape<256, 144, 0, 4, 8, 8> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V nibble = v_set32(0x0f0f0f0f);
    V head[4];
    w.quads(0, head);
    put_six_bit_scales<PanelQ4_K>(panel, head);
    for (int c = 0; c < 4; c++) {  // 32 bytes: low nibbles are group 2 c, high ones group 2 c + 1
      V q[8];
      w.quads(16 + 32 * c, q);
      w.quads(32 + 32 * c, q + 4);
      sink.open(2 * c);
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) sink.put(panel, 16 * c + i, v_and(q[i], nibble));
      sink.close(panel, 2 * c);
      sink.open(2 * c + 1);
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) sink.put(panel, 16 * c + 8 + i, v_and(v_srl<4>(q[i]), nibble));
      sink.close(panel, 2 * c + 1);
    }
  }
};

struct PanelQ5_K : Shape<256, 176, 0, 4, 8, 4> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V nibble = v_set32(0x0f0f0f0f), bit4 = v_set32(0x10101010);
    V head[4];
    w.quads(0, head);
    put_six_bit_scales<PanelQ5_K>(panel, head);
    V high[8];
    w.quads(16, high);
    w.quads(32, high + 4);
    for (int c = 0; c < 4; c++) {
      V q[8];
      w.quads(48 + 32 * c, q);
      w.quads(64 + 32 * c, q + 4);
      sink.open(2 * c);
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) {
        sink.put(panel, 16 * c + i, v_or(v_and(q[i], nibble), v_and(v_sll<4>(high[i]), bit4)));
      }
      sink.close(panel, 2 * c);
      sink.open(2 * c + 1);
#pragma GCC unroll 8
      for (int i = 0; i < 8; i++) {
        sink.put(panel, 16 * c + 8 + i, v_or(v_and(v_srl<4>(q[i]), nibble), v_and(v_sll<3>(high[i]), bit4)));
        high[i] = v_srl<2>(high[i]);
      }
      sink.close(panel, 2 * c + 1);
    }
  }
};

// d * (scale & 15) * q - dmin * (scale >> 4), groups of 16.
struct PanelQ2_K : Shape<256, 84, 0, 8, kPremultiply ? 64 : 4, 4> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V two = v_set32(0x03030303), four = v_set32(15);
    V scales[4], tail[4], scale[16];
    w.quads(0, scales);
    w.quads(68, tail);
    v_half(panel + kD, tail[3]);
    v_half(panel + kM, v_srl<16>(tail[3]));
    negate(reinterpret_cast<float*>(panel + kM));
    for (int g = 0; g < 16; g++) {
      const V both = byte_of(scales[g / 4], g % 4);
      scale[g] = twice16(v_and(both, four));
      if (!kPremultiply) v_store(panel + kScaleAt + kVec * g, scale[g]);
      if (g % 2) {
        const V even = v_srl<4>(byte_of(scales[g / 4], g % 4 - 1));
        v_store(panel + kMinsAt + kVec * (g / 2), v_or(even, v_sll<16>(v_srl<4>(both))));
      }
    }
    for (int c = 0; c < 4; c++) {
      V q[4];
      w.quads(16 + 16 * c, q);
      for (int j = 0; j < 4; j++) {
        const int g = 8 * (c / 2) + 2 * j + c % 2;
        sink.open(g);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          V v = v_and(q[i], two);
          // At most 15 * 3: the 16-bit products cannot cross from the low byte of a pair to the high one.
          if (kPremultiply) v = v_mul16(v, scale[g]);
          sink.put(panel, 4 * g + i, v);
          q[i] = v_srl<2>(q[i]);
        }
        sink.close(panel, g);
      }
    }
  }
};

// d * S * (q - 4), S in [-32, 31], q in [0, 7], groups of 16. S * (q - 4) is in [-124, 128], so + 127 fits a byte and
// - 1 a signed one.
struct PanelQ3_K : Shape<256, 110, kSignedBytes ? -1 : 127, 0, kPremultiply ? 64 : 4, 4, false, kSixteenBit> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V two = v_set32(0x03030303), one = v_set32(0x01010101), low4 = v_set32(0x0f0f0f0f);
    V s[4], scale[16], hmask[2][4];
    w.quads(92, s);
    v_half(panel + kD, w.odd());
    w.quads(0, hmask[0]);
    w.quads(16, hmask[1]);
    V six[4] = {v_and(s[1], low4), v_and(s[2], low4), v_and(v_srl<4>(s[1]), low4), v_and(v_srl<4>(s[2]), low4)};
    six[0] = v_or(six[0], v_sll<4>(v_and(s[3], two)));
    six[1] = v_or(six[1], v_sll<4>(v_and(v_srl<2>(s[3]), two)));
    six[2] = v_or(six[2], v_sll<4>(v_and(v_srl<4>(s[3]), two)));
    six[3] = v_or(six[3], v_sll<4>(v_and(v_srl<6>(s[3]), two)));
    for (int g = 0; g < 16; g++) {
      scale[g] = twice16(v_add32(byte_of(six[g / 4], g % 4), v_set32(-32)));
      if (!kPremultiply) v_store(panel + kScaleAt + kVec * g, scale[g]);
    }
    V init = v_set32(0);
    for (int c = 0; c < 4; c++) {  // bytes 16 c of qs: values 128 (c / 2) + 32 j + 16 (c % 2)
      V q[4];
      V* high = hmask[c % 2];
      w.quads(32 + 16 * c, q);
      for (int j = 0; j < 4; j++) {
        const int g = 8 * (c / 2) + 2 * j + c % 2;
        sink.open(g);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          V v = v_or(v_and(q[i], two), v_sll<2>(v_and(high[i], one)));
          q[i] = v_srl<2>(q[i]);
          high[i] = v_srl<1>(high[i]);
          if (kPremultiply) {
            const V bytes = v_set32(0x00ff00ff), offset = v_set32(kSignedBytes ? -1 : 0x007f007f);
            const V shift = v_sub16(offset, v_sll16<2>(scale[g]));
            V even = v_add16(v_mul16(v_and(v, bytes), scale[g]), shift);
            V odd = v_add16(v_mul16(v_and(v_srl<8>(v), bytes), scale[g]), shift);
            if (kSignedBytes) {  // the sign must not reach the neighbouring byte
              even = v_and(even, bytes);
              odd = v_and(odd, bytes);
            }
            v = v_or(even, v_sll<8>(odd));
          } else {
            v = v_add8(v, v_set32(static_cast<int>(0xfcfcfcfcu)));
            init = v_add_scaled(init, v, scale[g]);
          }
          sink.put(panel, 4 * g + i, v);
        }
        sink.close(panel, g);
      }
    }
    if (kSigned) v_store(panel + kInit, v_times_minus_128(init));
  }
};

// d * scale * (q - 32), signed 8-bit scales, groups of 16.
struct PanelQ6_K : Shape<256, 210, 32, 0, 4, 2, false, kSixteenBit> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V nibble = v_set32(0x0f0f0f0f), top2 = v_set32(0x30303030);
    V scales[4];
    w.quads(192, scales);
    v_half(panel + kD, w.odd());
    for (int g = 0; g < 16; g++) {
      v_store(panel + kScaleAt + kVec * g, as_scale(signed_byte_of(scales[g / 4], g % 4)));
    }
    V init = v_set32(0);
    for (int c = 0; c < 4; c++) {  // c = 2 h + half
      const int h = c / 2, half = c % 2;
      V a[4], bb[4], high[4];
      w.quads(64 * h + 16 * half, a);
      w.quads(64 * h + 32 + 16 * half, bb);
      w.quads(128 + 16 * c, high);
      for (int j = 0; j < 4; j++) {
        const int g = 8 * h + 2 * j + half;
        sink.open(g);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          const V low = j % 2 ? bb[i] : a[i];
          V x = v_and(j < 2 ? low : v_srl<4>(low), nibble);
          switch (j) {
            case 0: x = v_or(x, v_and(v_sll<4>(high[i]), top2)); break;
            case 1: x = v_or(x, v_and(v_sll<2>(high[i]), top2)); break;
            case 2: x = v_or(x, v_and(high[i], top2)); break;
            default: x = v_or(x, v_and(v_srl<2>(high[i]), top2)); break;
          }
          if (kSigned) {
            x = v_add8(x, v_set32(static_cast<int>(0xe0e0e0e0u)));
            init = v_add_scaled(init, x, v_load(panel + kScaleAt + kVec * g));
          }
          sink.put(panel, 4 * g + i, x);
        }
        sink.close(panel, g);
      }
    }
    if (kSigned) v_store(panel + kInit, v_times_minus_128(init));
  }
};

// d * (L - 32) * codebook, groups of 32; within a group low nibbles are the first 16 values, high ones the last.
struct PanelIQ4_XS : Shape<256, 136, kOffset8, 0, 8, 8, true> {
  template <class W, class S>
  static inline HW_INLINE void unpack(const W& w, uint8_t* panel, S& sink) {
    const V nibble = v_set32(0x0f0f0f0f), sign = v_set32(kSign8);
    const V table = v_xor(v_table(kValuesIQ4NL), sign), low4 = v_set32(15), top2 = v_set32(0x30);
    V head[4];
    w.quads(0, head);
    v_half(panel + kD, head[0]);
    V low = head[1], high = v_srl<16>(head[0]);
    for (int g = 0; g < 8; g++) {
      const V scale = v_or(v_and(low, low4), v_and(v_sll<4>(high), top2));
      v_store(panel + kScaleAt + kVec * g, v_add32(scale, v_set32(-32)));  // int32 on every ISA: sums exceed 16 bits
      low = v_srl<4>(low);
      high = v_srl<2>(high);
      V q[4];
      w.quads(8 + 16 * g, q);
      sink.open(g);
#pragma GCC unroll 4
      for (int i = 0; i < 4; i++) {
        sink.put(panel, 8 * g + i, v_lut(table, v_and(q[i], nibble)));
        sink.put(panel, 8 * g + 4 + i, v_lut(table, v_and(v_srl<4>(q[i]), nibble)));
      }
      sink.close(panel, g);
    }
  }
};
