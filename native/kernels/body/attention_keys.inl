// Scores of many queries with lanes that are keys, included by attention.inl for an ISA with 32 registers. The block of keys
// is transposed once, and the tree above a score's partials then takes adds alone, no shuffles. Takes from vec.h
//   transpose(rows)          W vectors, in place
//   key_queries, key_vectors queries of a tile and its vectors of keys

// Partial I of dot(q[n], key) for W * KV keys, then the tree above it: p[i] + p[i + H] for H = 16 down to 1, depth first,
// so that five levels of sums wait in registers and no partial in memory. k [dim][W] per vector of keys, `group` floats
// from one vector's to the next. out[n * KV + v]
template <int I, int H, int QN, int KV>
inline __attribute__((always_inline)) void key_tree(const float* const* q, const float* k, int64_t group, int32_t dim,
                                                    F* out) {
  if constexpr (H < 32) {
    F other[QN * KV];
    key_tree<I, 2 * H, QN, KV>(q, k, group, dim, out);
    key_tree<I + H, 2 * H, QN, KV>(q, k, group, dim, other);
    HW_UNROLL for (int i = 0; i < QN * KV; i++) out[i] = V::add(out[i], other[i]);
  } else {
    const auto step = [&](int32_t c, bool first) __attribute__((always_inline)) {
      F kv[KV];
      HW_UNROLL for (int v = 0; v < KV; v++) kv[v] = V::load(k + v * group + (int64_t)c * W);
      HW_UNROLL for (int n = 0; n < QN; n++) {
        const F qv = V::set(q[n][c]);
        HW_UNROLL for (int v = 0; v < KV; v++)
          out[n * KV + v] = V::fma(kv[v], qv, first ? V::zero() : out[n * KV + v]);
      }
    };
    step(I, true);
    for (int32_t c = I + 32; c < dim; c += 32) step(c, false);
  }
}

constexpr int kKeyQueries = V::key_queries;                 // queries of such a tile
constexpr int kTileKeys = W * V::key_vectors;  // and its keys; a power of two, at most 32

// Out of line: 32 partials of code.
__attribute__((noinline)) void key_tile(const float* const* q, const float* k, int32_t dim, float* const* out) {
  constexpr int KV = V::key_vectors;
  F a[kKeyQueries * KV];
  key_tree<0, 1, kKeyQueries, KV>(q, k, (int64_t)dim * W, dim, a);
  HW_UNROLL for (int n = 0; n < kKeyQueries; n++)
    HW_UNROLL for (int v = 0; v < KV; v++) V::store(out[n] + v * W, a[n * KV + v]);
}

// Scores of n queries against transposed keys, positions [j0, j1), j0 a multiple of kTileKeys.
inline void score_keys(const Query* x, int n, const float* keys, int32_t j0, int32_t j1, int32_t dim, Fetch& fetch) {
  for (int i = 0; i < n; i += kKeyQueries) {
    const int count = n - i < kKeyQueries ? n - i : kKeyQueries;
    const float* q[kKeyQueries];
    int32_t lo = j1, hi = j0;
    for (int t = 0; t < kKeyQueries; t++) {
      const Query& a = x[t < count ? i + t : i];
      q[t] = a.q;
      lo = a.k0 < lo ? a.k0 : lo;
      hi = a.k1 > hi ? a.k1 : hi;
    }
    lo = lo < j0 ? j0 : lo;
    hi = hi > j1 ? j1 : hi;
    for (int32_t j = lo & ~(kTileKeys - 1); j < hi; j += kTileKeys) {
      float unused[kTileKeys], *out[kKeyQueries];
      for (int t = 0; t < kKeyQueries; t++) out[t] = t < count ? x[i + t].s + j : unused;
      for (int f = 0; f < kTileKeys * kKeyQueries / W; f++) fetch.step();
      key_tile(q, keys + (int64_t)(j - j0) * dim, dim, out);
    }
  }
}

// Rows of positions [j, j1) of a page, j a multiple of 32, to out[position / W][padded][W]. Rows before `first` and after
// the last one stand for what nobody reads.
template <KvType T>
inline void transpose_rows(const Piece& a, int32_t j, int32_t j1, float* out) {
  const int32_t dim = a.shape->head_dim_k, padded = a.kp;
  const int64_t bytes = kv_row_bytes(T, dim);
  const bool direct = T == KV_F16 && dim == padded;
  for (; j < j1; j += W, out += (int64_t)padded * W) {
    const uint8_t* row[W];
    for (int i = 0; i < W; i++) row[i] = a.k + (j + i < a.first ? a.first : j + i < a.end ? j + i : a.end - 1) * bytes;
    for (int i = 0; i < W && !direct; i++) decode_row<T>(row[i], a.rows + (int64_t)i * padded, dim, padded);
    for (int32_t c = 0; c < padded; c += W) {
      F v[W];
      if (direct) {
        HW_UNROLL for (int i = 0; i < W; i++) v[i] = V::half_load(row[i] + 2 * c);
      } else {
        HW_UNROLL for (int i = 0; i < W; i++) v[i] = V::load(a.rows + (int64_t)i * padded + c);
      }
      V::transpose(v);
      HW_UNROLL for (int i = 0; i < W; i++) V::store(out + (int64_t)(c + i) * W, v[i]);
    }
  }
}

// For many queries: a transposed block of keys serves them all.
template <KvType T>
inline void all_scores_by_keys(const Piece& a, const Query* x, int n) {
  const int64_t k_bytes = kv_row_bytes(T, a.shape->head_dim_k), v_bytes = kv_row_bytes(T, a.shape->head_dim_v);
  for (int32_t j = a.first & ~31, j1; j < a.end; j = j1) {
    j1 = j + a.block < a.end ? j + a.block : a.end;
    const int64_t steps = ((int64_t)n * (j1 - j) + W - 1) / W, ahead = j1 + a.block < a.end ? a.block : a.end - j1;
    Fetch fetch = ahead > 0 ? Fetch(a.k + j1 * k_bytes, ahead * k_bytes, steps)
                            : Fetch(a.v + a.first * v_bytes, (j1 - j) * v_bytes, steps);
    transpose_rows<T>(a, j, j1, a.decoded);
    score_keys(x, n, a.decoded, j, j1, a.kp, fetch);
  }
}
