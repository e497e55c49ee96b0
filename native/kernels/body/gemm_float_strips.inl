// Many-row matmul of float types whose rows are short. In gemm_float.inl lanes are values of k, so that each output has
// 32 partial sums to be loaded, stored and added up: with 384 columns that is half as much work as the products. Here
// lanes are weight rows. A strip of them is turned around once, in the order of residues k % 32, and a tile computes
// one residue after the other; no sum is ever taken across a vector. Included after gemm_float.inl by the ISA source,
// which provides beside what that file asks for
//   kStripVectors           vectors of weight rows in a strip
//   kStripColumns           the longest rows: a tile reads one value of a line of activations at a time, so that its
//                           rows have to stay in the first level meanwhile
//   f_all(x)  f_add(a, b)   every lane x; sums
//   f_store_some(p, v, n)   the first n lanes, 0 < n < kLanes
//   f_floats<Dtype>(p)      kLanes weights to floats
//   f_transpose(v)          kLanes vectors of as many lanes
//
// Residues are taken in the order of their reversed bits: 0, 16, 8, 24, 4 and so on. The canonical tree adds p[i + 16]
// to p[i], then p[i + 8], so in this order a sum is complete as soon as its second half is, as a binary counter
// carries, and five parked sums are the most an output has.

constexpr int kStripWidth = kStripVectors * kLanes;
constexpr int kStripTile = 6;
// Token rows from which turning the weights around pays.
constexpr int kStripMinRows = 96;
static_assert(kStripWidth * kStripColumns * sizeof(float) <= kScratchBytes, "scratch");

inline int reversed_bits(int i) { return (i & 1) << 4 | (i & 2) << 2 | (i & 4) | (i & 8) >> 2 | (i & 16) >> 4; }

// T token rows x[t] times R vectors of weight rows; strip [32 residues][steps][kStripWidth]. The last vector has `last`
// weight rows.
template <int T, int R>
static void strip_tile(const float* strip, int steps, const float* const* x, float* const* out, int last) {
  F parked[5][T][R];
  for (int index = 0;; index++) {
    F acc[T][R];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) acc[t][r] = f_zero();
    }
    int64_t k = reversed_bits(index);
    for (int i = 0; i < steps; i++, k += 32, strip += kStripWidth) {
      F v[R];
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) v[r] = f_load(strip + r * kLanes);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) {
        const F a = f_all(x[t][k]);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) acc[t][r] = f_fma(v[r], a, acc[t][r]);
      }
    }
    int level = 0;
    for (; index >> level & 1; level++) {
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) acc[t][r] = f_add(parked[level][t][r], acc[t][r]);
      }
    }
    if (level == 5) {
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
          float* const to = out[t] + r * kLanes;
          if (r + 1 < R || last == kLanes) f_store(to, acc[t][r]);
          else f_store_some(to, acc[t][r], last);
        }
      }
      return;
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
#pragma GCC unroll 4
      for (int r = 0; r < R; r++) parked[level][t][r] = acc[t][r];
    }
  }
}

typedef void (*StripTileFn)(const float* strip, int steps, const float* const* x, float* const* out, int last);

// [vectors - 1][token rows - 5]
static const StripTileFn kStripTiles[][2] = {
    {strip_tile<5, 1>, strip_tile<6, 1>},
    {strip_tile<5, 2>, strip_tile<6, 2>},
#if HW_STRIP_VECTORS > 2
    {strip_tile<5, 3>, strip_tile<6, 3>},
    {strip_tile<5, 4>, strip_tile<6, 4>},
#endif
};

// Weight rows [r0, r0 + vectors * kLanes) as a strip; rows past the end repeat the last one.
template <Dtype D>
static void turn_strip(const uint8_t* w, int64_t row_bytes, int r0, int rows, int vectors, int steps, float* strip) {
  constexpr int kSize = D == F32 ? 4 : 2;
  for (int v = 0; v < vectors; v++) {
    const uint8_t* from[kLanes];
    for (int r = 0; r < kLanes; r++) {
      const int row = r0 + v * kLanes + r;
      from[r] = w + (row < rows ? row : rows - 1) * row_bytes;
    }
    for (int i = 0; i < steps; i++) {
      for (int first = 0; first < 32; first += kLanes) {
        F square[kLanes];
        for (int r = 0; r < kLanes; r++) square[r] = f_floats<D>(from[r] + (32 * i + first) * kSize);
        f_transpose(square);
        for (int j = 0; j < kLanes; j++) {
          const int64_t at = static_cast<int64_t>(reversed_bits(first + j)) * steps + i;
          f_store(strip + at * kStripWidth + v * kLanes, square[j]);
        }
      }
    }
  }
}

template <Dtype D>
static void gemm_float_strips(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts,
                              const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  float* const strip = static_cast<float*>(scratch);
  const int steps = cols / 32;
  // Of 20 rows and more all tiles have 5 or 6.
  const int tiles = (n + kStripTile - 1) / kStripTile, base = n / tiles, longer = n % tiles;
  for (int r0 = 0; r0 < rows; r0 += kStripWidth) {
    const int valid = rows - r0 < kStripWidth ? rows - r0 : kStripWidth;
    const int vectors = (valid + kLanes - 1) / kLanes;
    turn_strip<D>(w, row_bytes, r0, rows, vectors, steps, strip);
    for (int i = 0, t = 0; i < tiles; i++) {
      const int count = base + (i < longer);
      const float* x[kStripTile];
      float* to[kStripTile];
      for (int j = 0; j < count; j++, t++) {
        x[j] = acts->f32 + (pick ? pick[t] : t) * acts->f32_stride;
        to[j] = out + t * out_stride + r0;
      }
      kStripTiles[vectors - 1][count - 5](strip, steps, x, to, valid - (vectors - 1) * kLanes);
    }
  }
}

// Rows of other lengths and few token rows are left to gemm_float.
template <Dtype D>
static void gemm_float_either(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts,
                              const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch) {
  const bool strips = n >= kStripMinRows && cols <= kStripColumns && cols % 32 == 0 && rows >= kLanes;
  const MatmulFn fn = strips ? gemm_float_strips<D> : gemm_float<D>;
  fn(w, row_bytes, rows, cols, acts, pick, n, out, out_stride, scratch);
}

static void set_strips(Kernels* k) {
  k->gemm[F32] = gemm_float_either<F32>;
  k->gemm[F16] = gemm_float_either<F16>;
  k->gemm[BF16] = gemm_float_either<BF16>;
}
