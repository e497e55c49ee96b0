// The products of a few token rows where bytes are multiplied to 16-bit sums (included before gemm_few.inl): kept in 16
// bits for the P::kRun quads that fit, then widened by one multiply-add with the group's scale. Needs what gemm_dot.inl
// lists but for v_dot; the ISA provides
//   products<Signed>(w, a)  pairs of byte products in 16 bits, unsigned w or (Signed) unsigned a
//   v_fresh_four(p) pinned(v)   v_four and v that the compiler may not keep or move

template <class P, int T>
struct Dots {
  using L = Tile<P, kFewRows>;
  static constexpr bool kGrouped = P::kBlock == 256 && P::kPlanes == 2;  // IQ4_XS: 32-bit scales
  static constexpr int kQuads = P::kBlock == 32 ? 8 : P::kGroupQuads;
  static constexpr int kRun = P::kRun < kQuads ? P::kRun : kQuads;
  const uint8_t* q;      // the block's activations in tile row 0
  const uint8_t* init;   // and its offset sums
  const uint8_t* ahead;  // weights to fetch next
  int count;             // quads since open
  V pairs[P::kPlanes][T], sum[T], isum[T];

  HW_INLINE void begin(V* to, bool offset, int g) {
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) to[t] = offset ? v_four(init + t * 4 * L::kInits + 4 * g) : v_set32(0);
  }
  HW_INLINE void start(const uint8_t* tile, int i) {
    q = tile + i * P::kBlock;
    init = tile + L::kInit + 4 * i * (L::kInits / L::kBlocks);
    count = 0;
    begin(isum, P::kHasOffset && !kGrouped, 0);
  }
  HW_INLINE void finish(const uint8_t* panel) {
    if (!P::kSigned) return;
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) isum[t] = v_add32(isum[t], v_load(panel + P::kInit));
  }
  HW_INLINE void open(int g) {
    count = 0;
    if (kGrouped) begin(sum, true, g);
  }
  HW_INLINE void put(const uint8_t* panel, int quad, V v) {
    const V nibble = v_set32(0x0f0f0f0f);
    const V plane[2] = {P::kPlanes == 2 ? v_and(v, nibble) : v, v_and(v_srl<4>(v), nibble)};
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      const V a = v_fresh_four(q + t * kChunk + 4 * quad);
#pragma GCC unroll 2
      for (int i = 0; i < P::kPlanes; i++) {
        const V two = products<P::kSigned>(plane[i], a);
        pairs[i][t] = pinned(count % kRun ? v_add16(pairs[i][t], two) : two);
      }
    }
    if (++count % kRun == 0) widen(panel, quad / kQuads);
  }
  HW_INLINE void widen(const uint8_t* panel, int g) {
    V* const to = kGrouped ? sum : isum;
    const bool scaled = P::kBlock == 256 && !kGrouped;
    const V scale = scaled ? v_load(panel + P::kScaleAt + kVec * g) : v_set32(0x00010001);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      to[t] = v_pairs(to[t], pairs[0][t], scale);
      if (P::kPlanes == 2) to[t] = v_pairs(to[t], pairs[P::kPlanes - 1][t], v_set32(0x00100010));
    }
  }
  HW_INLINE void close(const uint8_t* panel, int g) {
    fetch<(P::kBytes * kLanes / P::kGroups + 63) / 64>();
    if (!kGrouped) return;
    const V scale = v_load(panel + P::kScaleAt + kVec * g);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) isum[t] = v_mul_add32(sum[t], scale, isum[t]);
  }
  // Evenly among the arithmetic: a core has some twenty misses under way at most, and a burst of more than that waits.
  template <int kLines>
  HW_INLINE void fetch() {
#pragma GCC unroll 8
    for (int i = 0; i < kLines; i++) v_prefetch_near(ahead + 64 * i);
    ahead += 64 * kLines;
  }
};
