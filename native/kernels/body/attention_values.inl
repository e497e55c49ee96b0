// Sums of values, part of attention.inl: tiles of queries x vectors of a row, over the keys of a block. Takes from
// vec.h
//   tile_queries, accumulators    queries of a tile, sums kept by one
//   in_register(v)                v, kept from being loaded again as a memory operand
//   half_load, i8_load, nibbles_load    packed values to floats, codes unscaled

// Rows of values: floats in scratch, or packed ones turned into floats at each load, which pays while few tiles load
// the same value. load<DN>: columns [col, col + DN * W).
struct FloatRows {
  static constexpr int bytes = 2;  // of a value, about, where it is packed
  const float* p;
  int64_t stride;
  FloatRows from(int64_t row) const { return {p + row * stride, stride}; }
  template <int DN>
  void load(int64_t col, F* out) const {
    HW_UNROLL for (int i = 0; i < DN; i++) out[i] = V::load(p + col + i * W);
  }
};
template <KvType T>
struct PackedRows {
  static constexpr int bytes = T == KV_F16 ? 2 : 1;
  const uint8_t* p;
  int64_t stride;  // bytes
  PackedRows from(int64_t row) const { return {p + row * stride, stride}; }
  template <int DN>
  void load(int64_t col, F* out) const {
    if constexpr (T == KV_F16) {
      HW_UNROLL for (int i = 0; i < DN; i++) out[i] = V::half_load(p + 2 * (col + i * W));
    } else if constexpr (T == KV_Q8_0) {
      HW_UNROLL for (int i = 0; i < DN; i++) out[i] = V::i8_load(p + col + i * W);
    } else {
      constexpr int half = 16 / W;  // vectors of a block's first 16 values
      HW_UNROLL for (int i = 0; i < DN; i++)
        if (i % (2 * half) < half)
          V::nibbles_load(p + (col + i / (2 * half) * 32) / 2 + i % (2 * half) * W, out + i, out + i + half);
    }
  }
};

// Row j of a page to floats, padded with zeros to `padded`.
template <KvType T>
inline void decode_row(const uint8_t* p, float* out, int32_t dim, int32_t padded) {
  if constexpr (T == KV_F16) {
    int32_t i = 0;
    for (; i + W <= dim; i += W) V::store(out + i, V::half_load(p + 2 * i));
    if (i < dim) {
      V::store(out + i, V::half_load_n(p + 2 * i, dim - i));
      i += W;
    }
    for (; i < padded; i += W) V::store(out + i, V::zero());
  } else {
    constexpr int DN = 32 / W;
    F v[DN];
    for (int32_t c = 0; c < dim; c += 32) {
      PackedRows<T>{p, 0}.template load<DN>(c, v);
      HW_UNROLL for (int i = 0; i < DN; i++) V::store(out + c + i * W, v[i]);
    }
  }
}

// Columns [c0, c1) of values that are the first of turned keys, positions [j0, j1) of a page, j0 a multiple of 16, as
// rows of `stride` floats; zeros follow the last of `dim` values. c0 is a multiple of 128. Codes are turned as words of
// four bytes, which gives what the rows of packed values hold.
template <KvType T>
inline void decode_latent(const uint8_t* k, int32_t dim_k, int32_t dim, int32_t j0, int32_t j1, int32_t c0, int32_t c1,
                          float* out, int32_t stride) {
  constexpr int each = T == KV_F16 ? 1 : T == KV_Q8_0 ? 4 : 8;  // values of a word
  F words[W];
  alignas(64) uint8_t packed[4 * W];
  for (int32_t j = j0; j < j1; j += W, out += W * stride) {
    const uint8_t* const group = kv_key_group(T, k, dim_k, j & ~(kKeyGroup - 1));
    const int lane = j % kKeyGroup;
    for (int32_t c = c0; c < c1; c += each * W) {
      const int32_t there = (dim - c + each - 1) / each;
      HW_UNROLL for (int i = 0; i < W; i++) {
        const int64_t at = (int64_t)(c / each + i) * kKeyGroup + lane;
        if (i >= there) {
          words[i] = V::zero();
        } else if constexpr (T == KV_F16) {
          words[i] = V::half_load(group + at * 2);
        } else {
          words[i] = V::load((const float*)(group + at * 4));
        }
      }
      V::turn(words);
      const int32_t columns = c1 - c < each * W ? c1 - c : each * W;
      for (int l = 0; l < W; l++) {
        float* const row = out + l * stride + c - c0;
        if constexpr (T == KV_F16) {
          V::store(row, words[l]);
        } else {
          V::store((float*)packed, words[l]);
          decode_row<T>(packed, row, columns, 0);
        }
      }
    }
  }
}

constexpr int kValueKeys = 64;  // most positions of a block

// o[n][d..] = fma chain over positions [j0, j1) for DN vectors of `rows`, whose first is position j0. A query's
// weight of position j is weights[n * stride + j], and `per_block` further for each further block of 32 values.
template <int QN, int DN, class Rows>
inline void value_tile(const Query* x, const Rows rows, const float* weights, int64_t stride, int64_t per_block,
                       int32_t j0, int32_t j1, int32_t d, Fetch& fetch) {
  Fetch ahead = fetch;
  F acc[QN][DN];
  HW_UNROLL for (int n = 0; n < QN; n++)
    HW_UNROLL for (int i = 0; i < DN; i++) acc[n][i] = V::load(x[n].o + d + i * W);
  constexpr int BN = DN * W > 32 ? DN * W / 32 : 1;
  Rows row = rows;
  for (int32_t j = j0; j < j1; j++, row = row.from(1)) {
    HW_UNROLL for (int i = 0; i < DN * W * Rows::bytes / 64 || i < 1; i++) ahead.step();
    F v[DN];
    row.template load<DN>(d, v);
    if (QN > 1) {
      HW_UNROLL for (int i = 0; i < DN; i++) v[i] = V::in_register(v[i]);
    }
    HW_UNROLL for (int n = 0; n < QN; n++) {
      HW_UNROLL for (int b = 0; b < BN; b++) {
        const F p = V::set(weights[n * stride + b * per_block + j]);
        HW_UNROLL for (int i = b * DN / BN; i < (b + 1) * DN / BN; i++) acc[n][i] = V::fma(p, v[i], acc[n][i]);
      }
    }
  }
  HW_UNROLL for (int n = 0; n < QN; n++)
    HW_UNROLL for (int i = 0; i < DN; i++) V::store(x[n].o + d + i * W, acc[n][i]);
  fetch = ahead;
}

// The weights of q8_0 and q4_0: exp(score - m) times the scale of the row's block.
template <KvType T, int QN, int DN, class Rows>
inline void weighted_tile(const Piece& a, const Query* x, const Rows rows, int32_t j0, int32_t j1, int32_t d,
                          Fetch& fetch) {
  if constexpr (T == KV_F16) {
    value_tile<QN, DN>(x, rows, x->s, kPagePositions, 0, j0, j1, d, fetch);
  } else {
    constexpr int BN = DN * W / 32, room = kValueKeys + 16;
    alignas(64) float weights[QN * BN * room];
    const int32_t start = j0 & ~15;
    for (int b = 0; b < BN; b++) {
      const uint8_t* scales = a.v != nullptr ? kv_scales(T, a.v, a.shape->head_dim_v, d / 32 + b)
                                             : kv_scales(T, a.k, a.shape->head_dim_k, d / 32 + b);
      for (int32_t j = start; j < j1; j += W) {
        const F scale = V::half_load(scales + 2 * j);
        for (int n = 0; n < QN; n++)
          V::store(weights + (n * BN + b) * room + j - start, V::mul(V::load(x[n].s + j), scale));
      }
    }
    value_tile<QN, DN>(x, rows, weights - start, BN * room, room, j0, j1, d, fetch);
  }
}

// Tiles of DN vectors over columns [d, dim), the rest with half as many.
template <KvType T, int QN, int DN, class Rows>
inline void value_columns(const Piece& a, const Query* x, const Rows rows, int32_t j0, int32_t j1, int32_t d,
                          int32_t dim, Fetch& fetch) {
  for (; d + DN * W <= dim; d += DN * W) weighted_tile<T, QN, DN>(a, x, rows, j0, j1, d, fetch);
  constexpr int least = T == KV_F16 ? 1 : 32 / W;
  if constexpr (DN > least)
    if (d < dim) value_columns<T, QN, DN / 2>(a, x, rows, j0, j1, d, dim, fetch);
}

// The positions [j0, j1) of a block whose rows begin at position `base`.
template <KvType T, int QN, class Rows>
__attribute__((noinline)) void value_span(const Piece& a, const Query* x, const Rows rows, int32_t base, int32_t j0,
                                          int32_t j1, int32_t col, int32_t dim, Fetch& fetch) {
  constexpr int each = V::accumulators / QN, DN = each >= 8 ? 8 : each >= 4 ? 4 : 2;
  if (j0 < j1) value_columns<T, QN, DN>(a, x, rows.from(j0 - base), j0, j1, col, dim, fetch);
}

// The positions all QN queries share in one tile; each query's own positions before and after them alone.
template <KvType T, int QN, class Rows>
inline void value_block(const Piece& a, const Query* x, const Rows rows, int32_t j0, int32_t j1, int32_t col,
                        int32_t dim, Fetch& fetch) {
  int32_t lo[QN], hi[QN], from = j0, to = j1;
  for (int n = 0; n < QN; n++) {
    lo[n] = x[n].k0 > j0 ? x[n].k0 : j0;
    hi[n] = x[n].k1 < j1 ? x[n].k1 : j1;
    from = lo[n] > from ? lo[n] : from;
    to = hi[n] < to ? hi[n] : to;
  }
  if (from >= to) {
    for (int n = 0; n < QN; n++) value_span<T, 1>(a, x + n, rows, j0, lo[n], hi[n], col, dim, fetch);
    return;
  }
  for (int n = 0; n < QN; n++) value_span<T, 1>(a, x + n, rows, j0, lo[n], from, col, dim, fetch);
  value_span<T, QN>(a, x, rows, j0, from, to, col, dim, fetch);
  for (int n = 0; n < QN; n++) value_span<T, 1>(a, x + n, rows, j0, to, hi[n], col, dim, fetch);
}

template <KvType T, class Rows>
inline void value_queries(const Piece& a, const Query* x, int n, const Rows rows, int32_t j0, int32_t j1, int32_t col,
                          int32_t dim, Fetch& fetch) {
  constexpr int QN = V::tile_queries;
  int i = 0;
  for (; i + QN <= n; i += QN) value_block<T, QN>(a, x + i, rows, j0, j1, col, dim, fetch);
  if (n - i == 3) value_block<T, 3 < QN ? 3 : QN>(a, x + i, rows, j0, j1, col, dim, fetch);
  if (n - i == 2) value_block<T, 2 < QN ? 2 : QN>(a, x + i, rows, j0, j1, col, dim, fetch);
  if (n - i == 1) value_block<T, 1>(a, x + i, rows, j0, j1, col, dim, fetch);
}

// Values that are the first of their keys, a few columns of a block at a time: they are turned into the first level and
// stay there until all queries have had them.
template <KvType T>
inline void latent_values(const Piece& a, const Query* x, int n) {
  const int32_t columns = a.vp < 128 ? a.vp : 128;
  Fetch nothing = {nullptr, nullptr, false};
  for (int32_t j = a.first, j1; j < a.end; j = j1) {
    const int32_t base = j & ~31;
    j1 = base + 32 < a.end ? base + 32 : a.end;
    for (int32_t c = 0; c < a.vp; c += columns) {
      const int32_t end = c + columns < a.vp ? c + columns : a.vp;
      decode_latent<T>(a.k, a.shape->head_dim_k, a.shape->head_dim_v, base, j1, c, end, a.decoded, columns);
      const FloatRows rows = {a.decoded + (int64_t)(j - base) * columns - c, columns};
      value_queries<T>(a, x, n, rows, j, j1, c, end, nothing);
    }
  }
}

// One for the values' type, whatever the keys are.
template <KvType T>
__attribute__((noinline)) void all_values(const Piece& a, const Query* x, int n) {
  const int32_t dv = a.shape->head_dim_v;
  const int64_t v_bytes = kv_code_bytes(T, dv), k_bytes = kv_code_bytes(a.keys, a.shape->head_dim_k);
  if (a.next != nullptr) fetch_scales(a.keys, a.next, a.shape->head_dim_k, 0, kPagePositions);
  if (a.v == nullptr) {
    latent_values<T>(a, x, n);
    return;
  }
  for (int32_t j = a.first, j1; j < a.end; j = j1) {
    j1 = (j & ~31) + a.block < a.end ? (j & ~31) + a.block : a.end;
    Fetch fetch = fetch_ahead(a.v, v_bytes, j, j1, a.end, a.next, k_bytes, false);
    if (n > kPackedQueries || a.vp != dv) {
      for (int32_t i = j; i < j1; i++)
        decode_row<T>(a.v + i * v_bytes, a.decoded + (int64_t)(i - j) * a.vp, dv, a.vp);
      value_queries<T>(a, x, n, FloatRows{a.decoded, a.vp}, j, j1, 0, a.vp, fetch);
    } else {
      value_queries<T>(a, x, n, PackedRows<T>{a.v + j * v_bytes, v_bytes}, j, j1, 0, dv, fetch);
    }
  }
}
