// Floats of layouts of several planes: the float dot of scale * value. Few token rows: a weight row is walked once as
// one stream, in registers. More rows multiply a panel of floats, into which rows are decoded once for kUnitGroup token
// rows. Included by the ISA source behind gemm_float.inl, whose tiles it uses; the ISA provides
//   kUnitRows, kUnitGroup, kUnitChunk  weight rows, token rows and inputs of a panel
//   kUnitFew                           token rows of a walk
//   Codes<C>                           a kind of codes (F32 codes are none of them):
//     OfOne                            what walks with one token row take, which need no `store`
//     kBytes                           of 32 codes
//     kPairs                           codes come two in a byte: even inputs, then odd ones
//     Scaled(scale)                    what a block's codes are multiplied with
//     load(p, scaled, v, bad)          32 scaled values in 32 / kLanes F, pairs apart; `bad` learns of codes that are
//                                      no numbers
//     kTwo, load_two(p, scaled, v, bad) whether 64 codes are cheaper than twice 32, and how: twice as many F
//     is_bad(bad, sum, p, n)           whether one of the n codes at p, which gave that sum, is no number
//     store(p, scaled, out)            the same as floats in the order of inputs, NaNs included
//   f_tree(p)                          the tree of 32 partial sums, in the order of `load`
//   f_pairs(x, out)                    32 floats in the order of `load`
//   kUnitSums                          registers of sums of a walk, of all its rows
//   kUnitAhead                         bytes between a fetch and its use, of all rows of a walk
//   prefetch(p)

// The scales of a row: those of its first `cols` inputs lie one after the other.
struct RowScales {
  LayoutForm form;
  const uint8_t* at;
  int64_t bytes;
  // Of nested scales.
  const uint8_t* table;
  const uint8_t* outer;
  int64_t first;  // of the row, counted over the whole matrix

  RowScales() = default;
  RowScales(const Layout& layout, const UnitGrid& grid, int64_t row) : form(layout.form) {
    const PlaneLayout& p = layout.plane[kScalesPlane];
    const int64_t down = p.rows == 0 ? 0 : (p.whole ? row : row - grid.first_row) / p.rows;
    at = grid.at[kScalesPlane] + down * grid.row_stride[kScalesPlane];
    bytes = p.bytes;
    const bool nested = form.scales == SCALES_NESTED;
    table = nested ? grid.at[kNestedTablePlane] : nullptr;
    outer = nested ? grid.at[kNestedScalesPlane] : nullptr;
    first = nested ? row * (grid.all_inputs / p.cols) : 0;
  }
  inline float operator()(int64_t block) const {
    const uint8_t* const p = at + block * bytes;
    if (form.scales == SCALES_F32) return load_as<float>(p) * form.factor;
    if (form.scales == SCALES_BF16) return bf16_to_float(load_as<uint16_t>(p));
    if (form.scales == SCALES_F16) return half_to_float(load_as<uint16_t>(p));
    return load_as<float>(table + 4 * *p) * load_as<float>(outer + (first + block) / 256 * 4) + form.factor;
  }
};

// A step of a walk: kCodes codes of each row from input `k` on, 32 or twice as many, times those of the token rows.
template <class C, int kCodes, int T, int R>
static inline __attribute__((always_inline)) void floats_step(const uint8_t* w, int64_t row_bytes,
                                                              const typename C::Scaled* scaled, const float* const* x,
                                                              int64_t k, F (*p)[T][32 / kLanes],
                                                              typename C::Bad* bad) {
  constexpr int kVectors = 32 / kLanes, kLoaded = kCodes / kLanes;
#pragma GCC unroll 4
  for (int r = 0; r < R; r++) {
    F v[kLoaded];
    if constexpr (kCodes == 64) C::load_two(w + r * row_bytes, scaled[r], v, &bad[r]);
    else C::load(w + r * row_bytes, scaled[r], v, &bad[r]);
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
      for (int i = 0; i < kLoaded; i++) {
        F* const sum = &p[r][t][i % kVectors];
        *sum = f_fma(v[i], f_load(x[t] + k + kLanes * i), *sum);
      }
    }
  }
}

// R weight rows side by side: a row's sums are chains of additions, each of which waits for the one before.
template <class C, int T, int R>
static void floats_rows(const uint8_t* w, int64_t row_bytes, const RowScales* scales, int64_t block, int64_t whole,
                        const float* const* x, const float (*weight_tail)[32], const float* const* x_tail, float* out,
                        int64_t out_stride) {
  constexpr int kVectors = 32 / kLanes;
  F p[R][T][kVectors];
  typename C::Bad bad[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; r++) {
    bad[r] = C::good();
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
      for (int i = 0; i < kVectors; i++) p[r][t][i] = f_zero();
    }
  }
  // What is read next of these rows, and of those behind them.
  const int64_t ahead = row_bytes < kUnitAhead / R ? row_bytes : kUnitAhead / R;
  const int64_t turn = row_bytes - ahead, behind = ahead + (R - 1) * row_bytes;
  int64_t at = 0;
  for (int64_t k = 0, b = 0; k < whole; b++) {
    const int64_t end = k + block < whole ? k + block : whole;
    typename C::Scaled scaled[R];
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) scaled[r] = typename C::Scaled(scales[r](b));
    if constexpr (C::kTwo) {
      for (; k + 64 <= end; k += 64, at += 2 * C::kBytes) {
        const uint8_t* const far = w + at + (at < turn ? ahead : behind);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) prefetch(far + r * row_bytes);
        floats_step<C, 64, T, R>(w + at, row_bytes, scaled, x, k, p, bad);
      }
    }
    for (; k < end; k += 32, at += C::kBytes) {
      if (at % 64 == 0) {
        const uint8_t* const far = w + at + (at < turn ? ahead : behind);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) prefetch(far + r * row_bytes);
      }
      floats_step<C, 32, T, R>(w + at, row_bytes, scaled, x, k, p, bad);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
    for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
      for (int i = 0; x_tail != nullptr && i < kVectors; i++) {
        p[r][t][i] = f_fma(f_load(weight_tail[r] + kLanes * i), f_load(x_tail[t] + kLanes * i), p[r][t][i]);
      }
      const float sum = f_tree(p[r][t], C::kPairs);
      out[t * out_stride + r] = C::is_bad(bad[r], sum, w + r * row_bytes, whole) ? __builtin_nanf("") : sum;
    }
  }
}

// Rows of a walk: as many sums as registers hold beside the codes of a block.
constexpr int unit_rows_of(int tokens) {
  const int sums = tokens * 32 / kLanes;
  return 4 * sums <= kUnitSums ? 4 : 2 * sums <= kUnitSums ? 2 : 1;
}

// The last cols % 32 values of a row behind `from`, zero-padded, in the order of a walk.
template <class C>
static void weight_tail(const UnitCells& cells, int64_t r, int64_t from, int64_t cols, float* out) {
  alignas(64) float plain[32] = {};
  for (int64_t c = from; c < cols; c++) plain[c - from] = cells.product(cells.scale(r, c), cells.code(r, c));
  if (C::kPairs) f_pairs(plain, out);
  else for (int i = 0; i < 32; i++) out[i] = plain[i];
}

template <int N>
using Number = std::integral_constant<int, N>;

template <class C, int kMost>
static void floats_few(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                       const int32_t* pick, int32_t t0, int32_t n, float* out, int64_t out_stride, float* memory) {
  const UnitCells cells = {layout, grid};
  const int64_t cols = grid.all_inputs, whole = cols & ~int64_t{31};
  const int64_t group = layout.plane[kScalesPlane].cols, block = group == 0 ? cols : group;
  alignas(64) float tails[kUnitFew][32] = {}, tail[4][32];
  const float *x[kUnitFew], *x_tail[kUnitFew];
  for (int32_t t = 0; t < n; t++) {
    const float* const row = acts.f32 + (pick != nullptr ? pick[t0 + t] : t0 + t) * acts.f32_stride;
    x[t] = row;
    if (C::kPairs) {
      float* const ordered = memory + t * whole;
      for (int64_t k = 0; k < whole; k += 32) f_pairs(row + k, ordered + k);
      x[t] = ordered;
    }
    alignas(64) float plain[32] = {};
    for (int64_t k = whole; k < cols; k++) plain[k - whole] = row[k];
    if (C::kPairs) f_pairs(plain, tails[t]);
    else for (int i = 0; i < 32; i++) tails[t][i] = plain[i];
    x_tail[t] = tails[t];
  }
  const float* const* const last = whole < cols ? x_tail : nullptr;
  const int64_t row_bytes = grid.row_stride[kValuesPlane];
  const auto rows = [&](int64_t r, auto tokens, auto count) {
    constexpr int T = decltype(tokens)::value, R = decltype(count)::value;
    RowScales scales[R];
    for (int i = 0; i < R; i++) {
      scales[i] = RowScales(layout, grid, r + i);
      if (whole < cols) weight_tail<C>(cells, r + i, whole, cols, tail[i]);
    }
    floats_rows<C, T, R>(grid.at[kValuesPlane] + (r - grid.first_row) * row_bytes, row_bytes, scales, block, whole, x,
                         tail, last, out + r - r0, out_stride);
  };
  const auto all = [&](auto tokens) {
    constexpr int R = unit_rows_of(decltype(tokens)::value);
    int64_t r = r0;
    for (; r + R <= r1; r += R) rows(r, tokens, Number<R>());
    for (; r < r1; r++) rows(r, tokens, Number<1>());
  };
  if constexpr (kMost == 1) return all(Number<1>());
  if constexpr (kMost >= 2) {
    if (n == 2) return all(Number<2>());
  }
  if constexpr (kMost >= 3) {
    if (n == 3) return all(Number<3>());
  }
  if constexpr (kMost >= 4) {
    if (n == 4) return all(Number<4>());
  }
}

// Values [c0, c1) of a row, c0 and c1 whole units but for the last, which zeroes follow.
template <class C>
static void decode_row(const UnitCells& cells, bool steady, int64_t r, int64_t c0, int64_t c1, float* out) {
  const Layout& layout = cells.layout;
  int64_t c = c0;
  if (steady) {
    const UnitGrid& grid = cells.grid;
    const int64_t group = layout.plane[kScalesPlane].cols, block = group == 0 ? grid.all_inputs : group;
    const uint8_t* w = grid.at[kValuesPlane] + (r - grid.first_row) * grid.row_stride[kValuesPlane];
    w += c0 / 32 * C::kBytes;
    const RowScales scales(layout, grid, r);
    while (c + 32 <= c1) {
      const int64_t b = c / block, end = (b + 1) * block < c1 ? (b + 1) * block : c1;
      const typename C::Scaled scaled(scales(b));
      for (; c + 32 <= end; c += 32, w += C::kBytes) C::store(w, scaled, out + c - c0);
      if (c < end && c + 32 <= c1) break;  // a block ends inside a unit
    }
  }
  for (; c < c1; c++) out[c - c0] = cells.product(cells.scale(r, c), cells.code(r, c));
  for (; (c - c0) % 32 != 0; c++) out[c - c0] = 0;
}

template <class C>
static void floats_many(const Layout& layout, const UnitGrid& grid, bool steady, int64_t r0, int64_t r1,
                        const Acts& acts, const int32_t* pick, int32_t n, float* out, int64_t out_stride,
                        float* memory) {
  const UnitCells cells = {layout, grid};
  float* const park = memory;
  float* const panel = park + kUnitGroup * kUnitRows * 32;
  float* const tails = panel + kUnitRows * kUnitChunk;
  static_assert((kUnitGroup * kUnitRows * 32 + kUnitRows * kUnitChunk + kUnitGroup * 32) * 4 <= kScratchBytes,
                "scratch");
  const int64_t cols = grid.all_inputs, whole = cols & ~int64_t{31};
  for (int32_t n0 = 0; n0 < n; n0 += kUnitGroup) {
    const int nn = n - n0 < kUnitGroup ? n - n0 : kUnitGroup;
    const int tile_count = (nn + kTile - 1) / kTile;
    const auto row = [&](int t) { return acts.f32 + (pick ? pick[n0 + t] : n0 + t) * acts.f32_stride; };
    for (int t = 0; whole < cols && t < nn; t++) {
      for (int i = 0; i < 32; i++) tails[32 * t + i] = whole + i < cols ? row(t)[whole + i] : 0;
    }
    for (int64_t r = r0; r < r1; r += kUnitRows) {
      const int valid = static_cast<int>(r1 - r < kUnitRows ? r1 - r : kUnitRows), quads = (valid + 3) / 4;
      for (int64_t k0 = 0; k0 < cols; k0 += kUnitChunk) {
        const int64_t k1 = k0 + kUnitChunk < cols ? k0 + kUnitChunk : cols;
        const int blocks = static_cast<int>((k1 - k0) / 32);
        const bool tail = (k1 - k0) % 32 != 0;
        for (int i = 0; i < 4 * quads; i++) {
          decode_row<C>(cells, steady, i < valid ? r + i : r1 - 1, k0, k1, panel + i * kUnitChunk);
        }
        for (int i = 0, t = 0; i < tile_count; i++) {
          const int count = (nn - t + tile_count - i - 1) / (tile_count - i);
          const FloatTileFn tile = kFloatTiles<F32, kUnitRows>[count];
          for (int quad = 0; quad < quads; quad++) {
            float* const at = park + (t * kUnitRows + 4 * quad) * 32;
            for (int pass = 0; pass < 32; pass += kLanes) {
              const uint8_t* w[4];
              const float* x[kTile];
              for (int q = 0; q < 4; q++) {
                w[q] = reinterpret_cast<const uint8_t*>(panel + (4 * quad + q) * kUnitChunk + pass);
              }
              for (int j = 0; j < count; j++) x[j] = row(t + j) + k0 + pass;
              if (blocks > 0) tile(w, x, blocks, at + pass, k0 == 0);
              if (!tail) continue;
              for (int q = 0; q < 4; q++) w[q] += 128 * static_cast<int64_t>(blocks);
              for (int j = 0; j < count; j++) x[j] = tails + 32 * (t + j) + pass;
              tile(w, x, 1, at + pass, k0 == 0 && blocks == 0);
            }
          }
          t += count;
        }
      }
      for (int t = 0; t < nn; t++) {
        float* const to = out + (n0 + t) * out_stride + r - r0;
        for (int quad = 0; quad < quads; quad++) {
          alignas(16) float four[4];
          f_reduce4(park + (t * kUnitRows + 4 * quad) * 32, 32, four);
          for (int i = 0; i < 4 && 4 * quad + i < valid; i++) to[4 * quad + i] = four[i];
        }
      }
    }
  }
}

template <class C>
static void floats(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                   const int32_t* pick, int32_t n, float* out, int64_t out_stride, float* memory) {
  // Whether 32 inputs always share a scale, and those of a row follow each other.
  const PlaneLayout& scales = layout.plane[kScalesPlane];
  const bool steady = !scales.flat && (scales.cols == 0 || scales.cols % 32 == 0);
  const bool pairs = n == 1 ? C::OfOne::kPairs : C::kPairs;
  const int64_t held = pairs ? grid.all_inputs * 4 : 0;
  if (!steady || n > kUnitFew || held * n > static_cast<int64_t>(kScratchBytes)) {
    floats_many<C>(layout, grid, steady, r0, r1, acts, pick, n, out, out_stride, memory);
  } else if (n == 1) {
    floats_few<typename C::OfOne, 1>(layout, grid, r0, r1, acts, pick, 0, 1, out, out_stride, memory);
  } else {
    floats_few<C, kUnitFew>(layout, grid, r0, r1, acts, pick, 0, n, out, out_stride, memory);
  }
}

static void units_floats(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                         const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  float* const memory = static_cast<float*>(scratch);
  switch (layout.form.codes) {
    case CODES_E4M3: return floats<CodesE4M3>(layout, grid, r0, r1, acts, pick, n, out, out_stride, memory);
    case CODES_E5M2: return floats<CodesE5M2>(layout, grid, r0, r1, acts, pick, n, out, out_stride, memory);
    case CODES_NF4: return floats<CodesBook<false>>(layout, grid, r0, r1, acts, pick, n, out, out_stride, memory);
    default: return floats<CodesBook<true>>(layout, grid, r0, r1, acts, pick, n, out, out_stride, memory);
  }
}
