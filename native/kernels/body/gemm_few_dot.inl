// The products of a few token rows where the dot product sums in 32 bits; included before gemm_few.inl.
//   start(tile, i)          before block i of a tile is unpacked, finish(panel) after it: isum[T] are the block's sums

template <class P, int T>
struct Dots {
  using L = Tile<P, kFewRows>;
  static constexpr bool kGrouped = P::kBlock == 256 && P::kGroupQuads != 64;
  const uint8_t* q;      // the block's activations in tile row 0
  const uint8_t* init;   // and its offset sums
  const uint8_t* ahead;  // weights to fetch next
  V sum[T], isum[T];

  HW_INLINE void start(const uint8_t* tile, int i) {
    q = tile + i * P::kBlock;
    init = tile + L::kInit + 4 * i * (L::kInits / L::kBlocks);
    if (!kGrouped) {
      begin(isum, 0);
    } else {
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) isum[t] = v_set32(0);
    }
  }
  HW_INLINE void finish(const uint8_t*) {}
  HW_INLINE void begin(V* to, int g) {
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) to[t] = P::kHasOffset ? v_four(init + t * 4 * L::kInits + 4 * g) : v_set32(0);
  }
  HW_INLINE void put(uint8_t*, int quad, V v) {
    V* const to = kGrouped ? sum : isum;
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) to[t] = v_dot(to[t], v, v_four(q + t * kChunk + 4 * quad));
  }
  HW_INLINE void open(int g) {
    if (kGrouped) begin(sum, g);
  }
  HW_INLINE void close(const uint8_t* panel, int g) {
    fetch<(P::kBytes * kLanes / (P::kGroups ? P::kGroups : 16) + 63) / 64>();
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
