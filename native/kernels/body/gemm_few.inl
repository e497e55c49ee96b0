// 1 to kFewRows token rows: the weights of a block go from memory through registers into the dot products of all token
// rows and are never stored as a panel. With so few rows a panel's stores, and the pauses of the memory stream while it
// is multiplied, cost more than the arithmetic. Included by the ISA source after gemm_drive.inl; the ISA provides
//   what gemm_dot.inl lists
//   Dots<P, T>              the sink of P::unpack that multiplies: gemm_few_dot.inl or gemm_few_pairs.inl
//   v_prefetch_near(p)      to the first-level cache
//   kPackedAhead            bytes between use and prefetch of packed rows
//   kFewRows kFewAlways kFewBytes    token rows of one walk; see gemm_any
//
// One call of `few_panel` walks kLanes weight rows block by block; the tile holds all token rows for the k at hand.

// kLanes weight rows times T token rows over `blocks` blocks that lie in consecutive tiles; acc [T][kLanes].
template <class P, class Rows, int T>
static void few_panel(const Rows& rows, int blocks, const uint8_t* tiles, const uint8_t* ahead, float* acc,
                      bool first) {
  using L = Tile<P, kFewRows>;
  alignas(64) uint8_t panel[P::kPanel];  // scales and such only
  Dots<P, T> dots;
  dots.ahead = ahead;
  F out[T];
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) out[t] = first ? f_zero() : f_load(acc + kLanes * t);
  for (int b = 0; b < blocks; b++) {
    const int c = b / L::kBlocks, i = b % L::kBlocks;
    const uint8_t* tile = tiles + static_cast<int64_t>(c) * L::kBytes;
    dots.start(tile, i);
    P::unpack(rows.template block<P>(b, blocks), panel, dots);
    dots.finish(panel);
    if (P::kBlock == 32) dots.template fetch<(P::kBytes * kLanes / P::kParts + 63) / 64>();
    const F dw = f_load(reinterpret_cast<const float*>(panel + P::kD));
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      const F da = f_set(reinterpret_cast<const float*>(tile + L::kD) + t * L::kBlocks + i);
      out[t] = f_fma(f_mul(dw, da), f_of(dots.isum[t]), out[t]);
      if (P::kMins == 0) continue;
      const F m = f_mul(f_load(reinterpret_cast<const float*>(panel + P::kM)), da);
      const uint8_t* at = tile + L::kMin + 4 * (t * L::kMinWords + (P::kBlock == 32 ? i : i * P::kMins));
      if (P::kBlock == 32) {
        out[t] = f_fma(m, f_set(reinterpret_cast<const float*>(at)), out[t]);
      } else {
        V msum = v_set32(0);
#pragma GCC unroll 8
        for (int j = 0; j < P::kMins; j++)
          msum = v_pairs(msum, v_load(panel + P::kMinsAt + kVec * j), v_four(at + 4 * j));
        out[t] = f_fma(m, f_of(msum), out[t]);
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) f_store(acc + kLanes * t, out[t]);
}

// Up to kFewMost token rows take turns in each chunk of weights, which stays in the first-level cache meanwhile. From 3
// token rows on their number is rounded up to an even one by repeating the last: half as much code.
constexpr int kFewMost = 2 * kFewRows;

// As WeightRows: few_panel of 1, 2, 4, 6 and 8 token rows.
template <class Rows>
struct FewPanels {
  int offset;
  int64_t chunk_bytes;
  void (*few[5])(const Rows&, int, const uint8_t*, const uint8_t*, float*, bool);
};

// P: the form of the panels.
template <class P, class Rows>
HW_SHARED void multiply_few(const FewPanels<Rows>& weights, const uint8_t* w, int64_t row_bytes, int32_t rows,
                            int32_t cols, const Acts* acts, const int32_t* pick, int32_t n, float* out,
                            int64_t out_stride, void* scratch) {
  using L = Tile<P, kFewRows>;
  constexpr int kTiles = static_cast<int>(kScratchBytes / L::kBytes);
  // Files: every panel fetches the one after it, past the end too: the pool gives a thread parts that lie side by side.
  const int64_t ahead = Rows::kPacked ? kPackedAhead : kLanes * row_bytes;
  uint8_t* const tiles = static_cast<uint8_t*>(scratch);
  const int chunks = (cols + kChunk - 1) / kChunk;
  struct Group {
    int first, count, packed;  // token rows; with repetitions
    const uint8_t* tile;
  };
  for (int n0 = 0; n0 < n; n0 += kFewMost) {
    const int nn = n - n0 < kFewMost ? n - n0 : kFewMost;
    const int groups = (nn + kFewRows - 1) / kFewRows;
    Group group[kFewMost / kFewRows];
    for (int g = 0, t = n0; g < groups; t += group[g++].count) {
      const int count = nn / groups + (g < nn % groups);
      group[g] = {t, count, count > 2 ? count + count % 2 : count, nullptr};
    }
    for (int c0 = 0; c0 < chunks; c0 += kTiles / groups) {
      const int c1 = c0 + kTiles / groups < chunks ? c0 + kTiles / groups : chunks;
      uint8_t* tile = tiles;
      for (int g = 0; g < groups; g++) {
        group[g].tile = tile;
        for (int c = c0; c < c1; c++, tile += L::kBytes) {
          const int k0 = c * kChunk, kc = cols - k0 < kChunk ? cols - k0 : kChunk;
          for (int t = 0; t < group[g].packed; t++) {
            const int row = group[g].first + (t < group[g].count ? t : group[g].count - 1);
            pack_row<P, kFewRows>(acts, weights.offset, pick ? pick[row] : row, k0, kc, tile, t);
          }
        }
      }
      const int step = groups == 1 ? c1 - c0 : 1;
      const int64_t bytes = weights.chunk_bytes;
      for (int64_t i = 0; i < ahead; i += 64) v_prefetch(w + kLanes * bytes * c0 + i);
      for (int r0 = 0; r0 < rows; r0 += kLanes) {
        const int valid = rows - r0 < kLanes ? rows - r0 : kLanes;
        float* const to = out + r0;
        alignas(64) float acc[kFewMost / kFewRows][kFewRows * kLanes];
        for (int g = 0; g < groups && c0 > 0; g++) {
          copy_rows(acc[g], kLanes, to + group[g].first * out_stride, out_stride, group[g].count, valid);
        }
        for (int c = c0; c < c1; c += step) {
          const int k0 = c * kChunk, k1 = (c + step) * kChunk < cols ? (c + step) * kChunk : cols;
          const Rows from(w, row_bytes, r0, rows, c * bytes);
          const uint8_t* const next = w + r0 * row_bytes + kLanes * c * bytes + ahead;
          for (int g = 0; g < groups; g++) {
            weights.few[group[g].packed / 2](from, (k1 - k0) / P::kBlock,
                                             group[g].tile + static_cast<int64_t>(c - c0) * L::kBytes, next, acc[g],
                                             c == 0);
          }
        }
        for (int g = 0; g < groups; g++) {
          copy_rows(to + group[g].first * out_stride, out_stride, acc[g], kLanes, group[g].count, valid);
        }
      }
    }
  }
}

template <class P, class Rows = FileRows>
static void gemm_few(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts,
                     const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  constexpr int kMore = kFewRows > 2 ? 2 : 0;
  static_assert(kFewRows == 8 || kFewRows == 2, "FewPanels");
  static constexpr FewPanels<Rows> kWeights = {
      P::kOffset,
      kChunkBytes<P>,
      {few_panel<P, Rows, 1>, few_panel<P, Rows, 2>, few_panel<P, Rows, 2 + kMore>, few_panel<P, Rows, 2 + 2 * kMore>,
       few_panel<P, Rows, 2 + 3 * kMore>}};
  multiply_few<typename P::Panel, Rows>(kWeights, w, row_bytes, rows, cols, acts, pick, n, out, out_stride, scratch);
}

// gemm for any number of rows: few rows that way, more by panels.
template <class P>
static void gemm_any(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts,
                     const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  const bool few = n <= kFewAlways || (n <= kFewRows && static_cast<int64_t>(n) * cols <= kFewBytes);
  const MatmulFn fn = few ? gemm_few<P> : gemm<P>;
  fn(w, row_bytes, rows, cols, acts, pick, n, out, out_stride, scratch);
}
