// Many-row matmul of float types. The canonical float dot has 32 partial sums per output, k % 32 apart, so lanes are k and
// an output costs 32 / kLanes vectors. To keep a tile of 4 x kTile outputs in registers, one pass does kLanes of the 32
// residues; the passes re-read their chunk of k from L1. Included by the ISA source, which provides
//   F, kLanes                      a vector of kLanes floats
//   kTile, kRows                   token rows of a tile, weight rows of a panel
//   f_load f_store f_fma f_zero
//   f_convert<Dtype>(from, to)     32 values to float
//   f_reduce4(p, stride, out)      the canonical tree of 4 outputs, partials `stride` floats apart
//
// Loops, outermost first: kGroup token rows, kRows weight rows, kChunk values of k, tiles, quadruples of weight rows,
// passes. Partial sums are parked in the scratch between chunks of k, so that the operands of a tile stay in L1.

constexpr int kChunk = 512;
constexpr int kGroup = 1024 / kRows;
constexpr size_t kParkFloats = static_cast<size_t>(kGroup) * kRows * 32;  // [kGroup][kRows][32]
constexpr size_t kPanelFloats = static_cast<size_t>(kRows) * kChunk;      // [kRows][kChunk] float weights
constexpr size_t kTailFloats = static_cast<size_t>(kGroup) * 32;          // [kGroup][32] zero-padded last values
static_assert((kParkFloats + kPanelFloats + kTailFloats) * sizeof(float) <= kScratchBytes, "scratch");

// 4 weight rows times T token rows, residues [0, kLanes) of every 32 values. w [4][kChunk], x T pointers,
// park [T][kRows][32].
template <int T>
static void float_tile(const float* w, const float* const* x, int blocks, float* park, bool first) {
  F acc[4][T];
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) acc[r][t] = first ? f_zero() : f_load(park + (t * kRows + r) * 32);
  }
  for (int64_t k = 0; k < 32 * static_cast<int64_t>(blocks); k += 32) {
    F v[4];
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) v[r] = f_load(w + r * kChunk + k);
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
    for (int r = 0; r < 4; r++) f_store(park + (t * kRows + r) * 32, acc[r][t]);
  }
}

typedef void (*FloatTileFn)(const float* w, const float* const* x, int blocks, float* park, bool first);

static const FloatTileFn kFloatTiles[] = {nullptr,       float_tile<1>, float_tile<2>, float_tile<3>,
#if HW_GEMM_TILE > 3
                                          float_tile<4>, float_tile<5>, float_tile<6>,
#endif
};

// Values [k0, k0 + kc) of a weight row as floats, zero-padded to a multiple of 32.
template <Dtype D>
static void float_row(const uint8_t* w, int kc, float* out) {
  constexpr int kSize = D == F32 ? 4 : 2;
  int k = 0;
  for (; k + 32 <= kc; k += 32) f_convert<D>(w + k * kSize, out + k);
  if (k == kc) return;
  alignas(64) uint8_t last[128] = {};
  for (int i = 0; i < (kc - k) * kSize; i++) last[i] = w[k * kSize + i];
  f_convert<D>(last, out + k);
}

template <Dtype D>
static void gemm_float(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts,
                       const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  constexpr int kSize = D == F32 ? 4 : 2;
  float* const park = static_cast<float*>(scratch);
  float* const panel = park + kParkFloats;
  float* const tails = panel + kPanelFloats;
  const int whole = cols & ~31;

  for (int n0 = 0; n0 < n; n0 += kGroup) {
    const int nn = n - n0 < kGroup ? n - n0 : kGroup;
    const int tile_count = (nn + kTile - 1) / kTile;
    const int base = nn / tile_count, longer = nn % tile_count;
    const auto row = [&](int t) { return acts->f32 + (pick ? pick[n0 + t] : n0 + t) * acts->f32_stride; };
    for (int t = 0; whole < cols && t < nn; t++) {
      const float* x = row(t);
      for (int i = 0; i < 32; i++) tails[32 * t + i] = whole + i < cols ? x[whole + i] : 0;
    }
    for (int r0 = 0; r0 < rows; r0 += kRows) {
      const int valid = rows - r0 < kRows ? rows - r0 : kRows;
      const int quads = (valid + 3) / 4;
      for (int k0 = 0; k0 < cols; k0 += kChunk) {
        const int kc = cols - k0 < kChunk ? cols - k0 : kChunk;
        for (int r = 0; r < 4 * quads; r++) {  // rows past the end repeat the last one
          const int64_t from = r < valid ? r0 + r : rows - 1;
          float_row<D>(w + from * row_bytes + static_cast<int64_t>(k0) * kSize, kc, panel + r * kChunk);
        }
        for (int i = 0, t = 0; i < tile_count; i++) {
          const int count = base + (i < longer);
          const float* x[kTile];
          const float* tail[kTile];
          for (int j = 0; j < count; j++) {
            x[j] = row(t + j) + k0;
            tail[j] = tails + 32 * (t + j);
          }
          for (int quad = 0; quad < quads; quad++) {
            float* at = park + (t * kRows + 4 * quad) * 32;
            const float* wq = panel + 4 * quad * kChunk;
            for (int pass = 0; pass < 32; pass += kLanes) {
              const float* xp[kTile];
              for (int j = 0; j < count; j++) xp[j] = x[j] + pass;
              kFloatTiles[count](wq + pass, xp, kc / 32, at + pass, k0 == 0);
              if (kc % 32 != 0) {
                for (int j = 0; j < count; j++) xp[j] = tail[j] + pass;
                kFloatTiles[count](wq + (kc & ~31) + pass, xp, 1, at + pass, k0 == 0 && kc < 32);
              }
            }
          }
          t += count;
        }
      }
      for (int t = 0; t < nn; t++) {
        float* to = out + (n0 + t) * out_stride + r0;
        for (int quad = 0; quad < quads; quad++) {
          alignas(16) float four[4];
          f_reduce4(park + (t * kRows + 4 * quad) * 32, 32, four);
          for (int r = 0; r < 4 && 4 * quad + r < valid; r++) to[4 * quad + r] = four[r];
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
