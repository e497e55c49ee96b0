// Many-row matmul of float types. The canonical float dot has 32 partial sums per output, k % 32 apart, so lanes are k
// and an output costs 32 / kLanes vectors. To keep a tile of 4 x kTile outputs in registers, one pass does kLanes of
// the 32 residues; the passes re-read their chunk of k from L1. Included by the ISA source, which provides
//   F, kLanes                      a vector of kLanes floats
//   kTile                          token rows of a tile
//   kRows, kGroup, kChunk          weight rows, token rows and values of k that are worked on at a time
//   kPanel                         whether halves are converted into a panel of floats first, or by each tile that
//                                  loads them, which pays where the conversion has ports of its own
//   f_load f_store f_fma f_zero
//   f_weights<Dtype>(p)            kLanes weights to floats; with a panel only of F32
//   f_convert<Dtype>(from, to)     32 weights to floats; only with a panel
//   f_reduce4(p, stride, out)      the canonical tree of 4 outputs, partials `stride` floats apart
//
// Loops, outermost first: kGroup token rows, kRows weight rows, kChunk values of k, tiles, quadruples of weight rows,
// passes. A tile's chunk of activations stays in L1 while all weight rows pass by out of L2. Partial sums are parked in
// the scratch between chunks of k; a chunk must be long, as it pays for loading and storing them.

constexpr size_t kParkFloats = static_cast<size_t>(kGroup) * kRows * 32;  // [kGroup][kRows][32]
constexpr size_t kPanelFloats = kPanel ? static_cast<size_t>(kRows) * kChunk : 0;  // [kRows][kChunk] float weights
constexpr size_t kTailFloats = static_cast<size_t>(kGroup + kRows) * 32;  // zero-padded last values of every row
static_assert((kParkFloats + kPanelFloats + kTailFloats) * sizeof(float) <= kScratchBytes, "scratch");

// 4 weight rows times T token rows, residues [0, kLanes) of every 32 values. w 4 pointers, x T pointers,
// park [T][Rows][32].
template <Dtype D, int T, int Rows = kRows>
static void float_tile(const uint8_t* const* w, const float* const* x, int blocks, float* park, bool first) {
  constexpr int kSize = D == F32 ? 4 : 2;
  F acc[4][T];
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) acc[r][t] = first ? f_zero() : f_load(park + (t * Rows + r) * 32);
  }
  for (int64_t k = 0; k < 32 * static_cast<int64_t>(blocks); k += 32) {
    F v[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) v[r] = f_weights<D>(w[r] + k * kSize);
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      const F a = f_load(x[t] + k);
#pragma GCC unroll 4
      for (int r = 0; r < 4; r++) acc[r][t] = f_fma(v[r], a, acc[r][t]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) f_store(park + (t * Rows + r) * 32, acc[r][t]);
  }
}

typedef void (*FloatTileFn)(const uint8_t* const* w, const float* const* x, int blocks, float* park, bool first);

template <Dtype D, int Rows = kRows>
static const FloatTileFn kFloatTiles[] = {
    nullptr,          float_tile<D, 1, Rows>, float_tile<D, 2, Rows>, float_tile<D, 3, Rows>,
#if HW_GEMM_TILE > 3
    float_tile<D, 4, Rows>, float_tile<D, 5, Rows>, float_tile<D, 6, Rows>,
#endif
};

template <Dtype D>
static void gemm_float(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts,
                       const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  constexpr int kSize = D == F32 ? 4 : 2;
  constexpr bool kUnpack = kPanel && D != F32;
  constexpr Dtype kTileType = kUnpack ? F32 : D;
  float* const park = static_cast<float*>(scratch);
  float* const panel = park + kParkFloats;
  float* const tails = panel + kPanelFloats;
  uint8_t* const weight_tails = reinterpret_cast<uint8_t*>(tails + 32 * kGroup);  // [kRows][32 values of 4 bytes]
  const int whole = cols & ~31, rest = cols - whole;

  for (int n0 = 0; n0 < n; n0 += kGroup) {
    const int nn = n - n0 < kGroup ? n - n0 : kGroup;
    const int tile_count = (nn + kTile - 1) / kTile;
    const int base = nn / tile_count, longer = nn % tile_count;
    const auto row = [&](int t) { return acts->f32 + (pick ? pick[n0 + t] : n0 + t) * acts->f32_stride; };
    for (int t = 0; rest > 0 && t < nn; t++) {
      const float* x = row(t);
      for (int i = 0; i < 32; i++) tails[32 * t + i] = i < rest ? x[whole + i] : 0;
    }
    for (int r0 = 0; r0 < rows; r0 += kRows) {
      const int valid = rows - r0 < kRows ? rows - r0 : kRows;
      const int quads = (valid + 3) / 4;
      // Rows past the end repeat the last one.
      const auto weights = [&](int r) { return w + (r < valid ? r0 + r : rows - 1) * row_bytes; };
      for (int r = 0; rest > 0 && r < 4 * quads; r++) {
        uint8_t *const to = weight_tails + 128 * r, padded[128] = {};
        const uint8_t* from = weights(r) + static_cast<int64_t>(whole) * kSize;
        for (int i = 0; i < rest * kSize; i++) padded[i] = from[i];
        if constexpr (kUnpack) f_convert<D>(padded, reinterpret_cast<float*>(to));
        else for (int i = 0; i < 128; i++) to[i] = padded[i];
      }
      for (int k0 = 0; k0 < cols; k0 += kChunk) {
        const int kc = whole - k0 < kChunk ? whole - k0 : kChunk;  // whole blocks of the chunk
        const bool tail = cols - k0 <= kChunk && rest > 0;
        if constexpr (kUnpack)
          for (int r = 0; r < 4 * quads; r++)
            for (int k = 0; k < kc; k += 32)
              f_convert<D>(weights(r) + static_cast<int64_t>(k0 + k) * kSize, panel + r * kChunk + k);
        for (int i = 0, t = 0; i < tile_count; i++) {
          const int count = base + (i < longer);
          const FloatTileFn tile = kFloatTiles<kTileType>[count];
          for (int quad = 0; quad < quads; quad++) {
            // What one chunk completes is summed at once, out of the same few lines of the first level.
            float* at = park + (cols <= kChunk ? 0 : (t * kRows + 4 * quad) * 32);
            for (int pass = 0; pass < 32; pass += kLanes) {
              const int offset = pass * (kUnpack ? 4 : kSize);
              const uint8_t* wp[4];
              const float* xp[kTile];
              if (kc > 0) {
                for (int r = 0; r < 4; r++) {
                  const int q = 4 * quad + r;
                  wp[r] = (kUnpack ? reinterpret_cast<const uint8_t*>(panel + q * kChunk)
                                   : weights(q) + static_cast<int64_t>(k0) * kSize) + offset;
                }
                for (int j = 0; j < count; j++) xp[j] = row(t + j) + k0 + pass;
                tile(wp, xp, kc / 32, at + pass, k0 == 0);
              }
              if (tail) {
                for (int r = 0; r < 4; r++) wp[r] = weight_tails + 128 * (4 * quad + r) + offset;
                for (int j = 0; j < count; j++) xp[j] = tails + 32 * (t + j) + pass;
                tile(wp, xp, 1, at + pass, k0 == 0 && kc == 0);
              }
            }
            if (cols - k0 > kChunk) continue;
            for (int j = 0; j < count; j++, at += kRows * 32) {
              alignas(16) float four[4];
              f_reduce4(at, 32, four);
              float* const to = out + (n0 + t + j) * out_stride + r0 + 4 * quad;
              for (int r = 0; r < 4 && 4 * quad + r < valid; r++) to[r] = four[r];
            }
          }
          t += count;
        }
      }
    }
  }
}

template <Dtype D>
static void set_float(Kernels* k, int32_t min_rows) {
  k->gemm[D] = gemm_float<D>;
  k->gemm_min_rows[D] = min_rows;
}
