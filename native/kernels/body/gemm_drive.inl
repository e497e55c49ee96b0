// Drives the many-row kernels: packs activations, unpacks weight panels of kLanes rows, walks tiles of token rows.
// Included by the ISA source after gemm_unpack.inl; the ISA provides
//   kTile, kPanels    token rows and panels (of kLanes weight rows) of one micro-kernel call
//   MicroOf<P, T, R, P::kBlock>::run (16 for P::kTwo)(panel, blocks, tile, acc, stride, first, fetch)
//                     T token rows of `tile` times R panels, kPanelBytes apart, added to acc[t * stride + 0 .. R kLanes
//                     - 1] (first: acc starts at zero). acc is canonical after every block, so a sum may be parked in
//                     memory between chunks of k. fetch.next() once a block, or kFetches times in one of 256
//
// Loops, outermost first: groups of token rows whose packed form fits the scratch, chunks of kChunk values of k,
// panels, tiles. A panel chunk stays in L1, the packed activations in L2. With few token rows all of k is packed at
// once and the panels are outside, so that weight rows are read front to back.

constexpr int kChunk = 512;

// Code of a form is there once: copies for each type that calls it would only take the compiler's time.
#if defined(__clang__)
#define HW_SHARED static __attribute__((noinline))
#else
#define HW_SHARED static __attribute__((noinline, noclone))
#endif

template <class P, int kRows = kTile>
struct Tile {
  static constexpr int kBlocks = kChunk / P::kBlock;
  static constexpr int kInits = !P::kHasOffset ? 0 : kChunk / (4 * P::kGroupQuads);
  static constexpr int kMinWords = P::kMins == 0 ? 0 : P::kBlock == 32 ? kBlocks : kBlocks * P::kMins;
  // [kRows] rows of each plane
  static constexpr int kInit = kRows * kChunk;                 // int32 -offset * sum of q, per group
  static constexpr int kMin = kInit + kRows * 4 * kInits;      // float asum (32) or pairs of int16 sums (256)
  static constexpr int kD = kMin + kRows * 4 * kMinWords;      // float
  static constexpr int kBytes = (kD + kRows * 4 * kBlocks + 63) & ~63;
};

constexpr int kRowsAtOnce = kLanes * kPanels;
constexpr int kPanelBytes = 40 * kChunk * kLanes / 16;  // two planes and scales: 38.75 bytes per value of k and 16 rows
constexpr int kMaxGroup = 512;
// [rows of a group][kRowsAtOnce] float, for an incomplete panel
constexpr int kTailBytes = kMaxGroup * 4 * kRowsAtOnce;
constexpr int kActsBytes = static_cast<int>(kScratchBytes) - kPanels * kPanelBytes - kTailBytes;

static inline void copy_bytes(uint8_t* to, const uint8_t* from, int n, uint8_t flip) {
  for (int i = 0; i < n; i++) to[i] = from[i] ^ flip;
}

// One token row's values [k0, k0 + kc) into row t of a tile.
template <class P, int kRows = kTile>
static void pack_row(const Acts* a, int offset, int64_t row, int k0, int kc, uint8_t* tile, int t) {
  using L = Tile<P, kRows>;
  copy_bytes(tile + t * kChunk, reinterpret_cast<const uint8_t*>(a->q) + row * a->q_stride + k0, kc,
             P::kSigned ? 0x80 : 0);
  const int16_t* sums = a->sums + row * a->sums_stride + k0 / 16;
  int32_t* init = reinterpret_cast<int32_t*>(tile + L::kInit) + t * L::kInits;
  if (L::kInits == kChunk / 16) {
    for (int i = 0; i < kc / 16; i++) init[i] = -offset * sums[i];
  } else if (L::kInits == kChunk / 32) {
    for (int i = 0; i < kc / 32; i++) init[i] = -offset * (sums[2 * i] + sums[2 * i + 1]);
  } else if (L::kInits != 0) {
    for (int i = 0; i < kc / 256; i++) {
      int32_t sum = 0;
      for (int g = 0; g < 16; g++) sum += sums[16 * i + g];
      init[i] = -offset * sum;
    }
  }
  if (P::kMins != 0 && P::kBlock == 32) {
    float* m = reinterpret_cast<float*>(tile + L::kMin) + t * L::kMinWords;
    for (int i = 0; i < kc / 32; i++) m[i] = static_cast<float>(sums[2 * i] + sums[2 * i + 1]);
  } else if (P::kMins != 0) {
    int16_t* m = reinterpret_cast<int16_t*>(tile + L::kMin) + t * 2 * L::kMinWords;
    if (P::kMins == 8) {
      for (int i = 0; i < kc / 16; i++) m[i] = sums[i];
    } else {
      for (int i = 0; i < kc / 32; i++) m[i] = static_cast<int16_t>(sums[2 * i] + sums[2 * i + 1]);
    }
  }
  float* d = reinterpret_cast<float*>(tile + L::kD) + t * L::kBlocks;
  const float* from = a->d + row * a->d_stride + k0 / P::kBlock;
  for (int i = 0; i < kc / P::kBlock; i++) d[i] = from[i];
}

// Weights to fetch while others are multiplied, `step` bytes at a time: a core has some twenty misses under way at
// most, and what comes after a burst of more than that waits for memory, whatever it wants.
constexpr int kFetches = 8;
struct Fetch {
  const uint8_t* at;
  int64_t step;
  inline HW_INLINE void next() {
    for (int64_t i = 0; i < step; i += 64) v_prefetch(at + i);
    at += step;
  }
};

typedef void (*MicroFn)(const uint8_t* panel, int blocks, const uint8_t* tile, float* acc, int64_t stride, bool first,
                        Fetch fetch);

template <class P, int T, int R, int Block>
struct MicroOf;
template <class P, int T, int R>
struct Micro : MicroOf<P, T, R, P::kTwo ? 16 : P::kBlock> {};

template <class P, int R>
static MicroFn micro_for(int t) {
  switch (t) {
    case 1: return Micro<P, 1, R>::run;
    case 2: return Micro<P, 2, R>::run;
    case 3: return Micro<P, 3, R>::run;
#if HW_GEMM_TILE == 4
    default: return Micro<P, 4, R>::run;
#else
    case 4: return Micro<P, 4, R>::run;
    case 5: return Micro<P, 5, R>::run;
    default: return Micro<P, 6, R>::run;
#endif
  }
}

// `from` rows of `width` floats to `to`.
static void copy_rows(float* to, int64_t to_stride, const float* from, int64_t from_stride, int n, int width) {
  for (int t = 0; t < n; t++) {
    for (int i = 0; i < width; i++) to[t * to_stride + i] = from[t * from_stride + i];
  }
}

// What the driver has to know of a type beside the form of its panels.
struct WeightRows {
  int offset;           // P::kOffset
  int64_t chunk_bytes;  // of kChunk values of a row
  void (*unpack)(const uint8_t* w, int64_t row_bytes, int row, int rows, int64_t at, int blocks, uint8_t* panel);
};

template <class P>
constexpr int64_t kChunkBytes = static_cast<int64_t>(kChunk / P::kBlock / P::kParts) * P::kBytes;

// P: the form of the panels.
template <class P>
HW_SHARED void multiply(const WeightRows& weights, const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols,
                        const Acts* acts, const int32_t* pick, int32_t n, float* out, int64_t out_stride,
                        void* scratch) {
  using L = Tile<P>;
  static_assert(P::kPanel * (kChunk / P::kBlock) <= kPanelBytes, "panel chunk");
  constexpr int kTiles = kActsBytes / L::kBytes;  // tiles of kTile rows times kChunk values that fit
  constexpr int kGroup = kTiles * kTile < kMaxGroup ? kTiles * kTile : kMaxGroup;
  uint8_t* const tiles = static_cast<uint8_t*>(scratch);
  uint8_t* const panel = tiles + kActsBytes;
  float* const tail = reinterpret_cast<float*>(panel + kPanels * kPanelBytes);
  const int chunks = (cols + kChunk - 1) / kChunk;

  for (int n0 = 0; n0 < n; n0 += kGroup) {
    const int nn = n - n0 < kGroup ? n - n0 : kGroup;
    const int tile_count = (nn + kTile - 1) / kTile;
    // Even tiles: 8 rows are 4 + 4, not 6 + 2. The first `longer` tiles have one row more.
    const int base = nn / tile_count, longer = nn % tile_count;
    const int step = kTiles / tile_count;  // chunks packed at a time
    for (int c0 = 0; c0 < chunks; c0 += step) {
      const int c1 = c0 + step < chunks ? c0 + step : chunks;
      uint8_t* tile = tiles;
      for (int c = c0; c < c1; c++) {
        const int k0 = c * kChunk, kc = cols - k0 < kChunk ? cols - k0 : kChunk;
        for (int i = 0, t = n0; i < tile_count; i++, tile += L::kBytes) {
          for (int j = 0; j < base + (i < longer); j++, t++) {
            pack_row<P>(acts, weights.offset, pick ? pick[t] : t, k0, kc, tile, j);
          }
        }
      }
      for (int r0 = 0; r0 < rows; r0 += kRowsAtOnce) {
        const int valid = rows - r0 < kRowsAtOnce ? rows - r0 : kRowsAtOnce;
        const int panels = (valid + kLanes - 1) / kLanes;
        float* const to = out + static_cast<int64_t>(n0) * out_stride + r0;
        const bool whole = valid % kLanes == 0;
        float* const sums = whole ? to : tail;
        const int64_t stride = whole ? out_stride : kRowsAtOnce;
        if (!whole && c0 > 0) copy_rows(tail, stride, to, out_stride, nn, valid);
        tile = tiles;
        // The next rows of the matrix, or what follows this call's: the pool gives a thread parts that lie side by
        // side.
        const uint8_t* ahead = w + (r0 + kRowsAtOnce) * row_bytes;
        // Front to back: as one stream the hardware prefetcher helps, 16 or 32 rows in turns are too many for it. To
        // L2, because L1 belongs to the panels and the tile.
        const int64_t share = kRowsAtOnce * row_bytes / (static_cast<int64_t>(c1 - c0) * tile_count) + 1;
        for (int c = c0; c < c1; c++) {
          const int blocks = (cols - c * kChunk < kChunk ? cols - c * kChunk : kChunk) / P::kBlock;
          for (int j = 0; j < panels; j++) {
            weights.unpack(w, row_bytes, r0 + kLanes * j, rows, c * weights.chunk_bytes, blocks,
                           panel + j * kPanelBytes);
          }
          const int steps = P::kBlock == 32 ? blocks : blocks * kFetches;
          const int64_t fetched = (share + steps - 1) / steps;
          float* acc = sums;
          for (int i = 0; i < tile_count; i++, tile += L::kBytes) {
            const int count = base + (i < longer);
            const MicroFn micro = panels == 1 ? micro_for<P, 1>(count) : micro_for<P, kPanels>(count);
            micro(panel, blocks, tile, acc, stride, c == 0, {ahead, fetched});
            ahead += share;
            acc += count * stride;
          }
        }
        if (!whole) copy_rows(to, out_stride, tail, stride, nn, valid);
      }
    }
  }
}

// Rows: how weight rows lie, FileRows or PackedRows.
template <class P, class Rows = FileRows>
static void gemm(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts,
                 const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  multiply<typename P::Panel>({P::kOffset, kChunkBytes<P>, unpack_panel<P, Rows>}, w, row_bytes, rows, cols, acts, pick,
                              n, out, out_stride, scratch);
}
