// Scores, part of attention.inl: tiles of queries x vectors of keys. Lanes are keys, as they lie side by side in the
// page, so no sum crosses lanes. Takes from vec.h
//   key_queries, key_vectors  queries of a tile and its vectors of keys
//   I, int_set, to_float      W int32 lanes
//   Codes                     four codes each of W keys: codes_load signed bytes, nibbles_split half bytes, values i
//                             and 16 + i
//   dot_codes, dot_nibbles    acc + the four products of each lane with the query's codes at q. A signed code k counts
//                             as k + code_bias, which the caller takes back: where the instruction wants unsigned ones

// Keys of the vector that begins at `position`: halves of a page, or the same places among decoded floats.
struct HalfKeys {
  const uint8_t* p;
  static HalfKeys from(const uint8_t* head, int32_t dim, int32_t position) {
    return {head + ((int64_t)(position & ~15) * dim + position % 16) * 2};
  }
  F load(int32_t d) const { return V::half_load(p + d * 2 * kKeyGroup); }
};
struct FloatKeys {
  const float* p;
  static FloatKeys from(const float* head, int32_t dim, int32_t position) {
    return {head + (int64_t)(position & ~15) * dim + position % 16};
  }
  F load(int32_t d) const { return V::load(p + d * kKeyGroup); }
};

// a[n * KV + v] += values [d0, d0 + count) of the product of q[n] and keys v, b the same `apart` further. Two partials
// at a time: the chains of one are too few to hide the latency of a multiply-add.
template <int PN, int QN, int KV, class Keys>
inline __attribute__((always_inline)) void dot_values(const float* const* q, const Keys* keys, int32_t d0,
                                                      int32_t count, int32_t apart, F* a, F* b, Fetch& fetch) {
  for (int32_t c = d0; c < d0 + count; c++) {
    HW_UNROLL for (int p = 0; p < PN; p++) {
      const int32_t d = p == 0 ? c : c + apart;
      F* const to = p == 0 ? a : b;
      fetch.step();
      F kv[KV];
      HW_UNROLL for (int v = 0; v < KV; v++) kv[v] = QN == 1 ? keys[v].load(d) : V::in_register(keys[v].load(d));
      HW_UNROLL for (int n = 0; n < QN; n++) {
        const F qv = V::set(q[n][d]);
        HW_UNROLL for (int v = 0; v < KV; v++) to[n * KV + v] = V::fma(kv[v], qv, to[n * KV + v]);
      }
    }
  }
}

// out[n * KV + v] = the sum of two partials of dot(q[n], keys v), over [d0, d0 + each) and `each` values from there, as
// far as there are so many.
template <int QN, int KV, class Keys>
inline __attribute__((always_inline)) void dot_pair(const float* const* q, const Keys* keys, int32_t d0, int32_t each,
                                                    int32_t dim, F* out, Fetch& fetch) {
  Fetch ahead = fetch;
  F a[QN * KV], b[QN * KV];
  HW_UNROLL for (int i = 0; i < QN * KV; i++) a[i] = b[i] = V::zero();
  const int32_t first = d0 + each < dim ? each : dim - d0, second = dim - d0 - first < each ? dim - d0 - first : each;
  dot_values<2, QN, KV>(q, keys, d0, second, each, a, b, ahead);
  dot_values<1, QN, KV>(q, keys, d0 + second, first - second, 0, a, b, ahead);
  HW_UNROLL for (int i = 0; i < QN * KV; i++) out[i] = V::add(a[i], b[i]);
  fetch = ahead;
}

// Scores of QN queries at KV * W positions from j; `keys` holds them.
template <int QN, int KV, class Keys>
inline void score_floats(const Query* x, const Keys* keys, int32_t j, int32_t dim, Fetch& fetch) {
  const float* q[QN];
  F a[QN * KV], b[QN * KV];
  HW_UNROLL for (int n = 0; n < QN; n++) q[n] = x[n].q;
  const int32_t each = (dim + 3) / 4;
  dot_pair<QN, KV>(q, keys, 0, each, dim, a, fetch);
  dot_pair<QN, KV>(q, keys, 2 * each < dim ? 2 * each : dim, each, dim, b, fetch);
  HW_UNROLL for (int n = 0; n < QN; n++)
    HW_UNROLL for (int v = 0; v < KV; v++) V::store(x[n].s + j + v * W, V::add(a[n * KV + v], b[n * KV + v]));
}

// The same for the codes of a q8_0 or q4_0 page.
template <KvType T, int QN, int KV>
inline void score_codes(const Query* x, const uint8_t* head, int32_t j, int32_t dim, Fetch& fetch) {
  constexpr int steps = T == KV_Q8_0 ? 8 : 4, bias = T == KV_Q8_0 ? V::code_bias : 8;
  const uint8_t* codes[KV];
  HW_UNROLL for (int v = 0; v < KV; v++)
    codes[v] = kv_key_group(T, head, dim, (j + v * W) & ~15) + (j + v * W) % 16 * 4;
  F score[QN * KV];
  HW_UNROLL for (int i = 0; i < QN * KV; i++) score[i] = V::zero();
  const int8_t* q[QN];
  HW_UNROLL for (int n = 0; n < QN; n++) q[n] = x[n].codes;
  for (int32_t b = 0; b < dim / 32; b++) {
    typename V::I sum[QN * KV];
    HW_UNROLL for (int n = 0; n < QN; n++) {
      const int32_t start = bias == 0 ? 0 : -bias * (x[n].sums[2 * b] + x[n].sums[2 * b + 1]);
      HW_UNROLL for (int v = 0; v < KV; v++) sum[n * KV + v] = V::int_set(start);
    }
    HW_UNROLL for (int i = 0; i < steps; i++) {
      HW_UNROLL for (int v = 0; v < KV; v++) {
        const uint8_t* at = codes[v] + (b * steps + i) * 4 * kKeyGroup;
        fetch.step();
        if constexpr (T == KV_Q8_0) {
          const typename V::Codes k = V::codes_load(at);
          HW_UNROLL for (int n = 0; n < QN; n++)
            sum[n * KV + v] = V::dot_codes(sum[n * KV + v], k, q[n] + 32 * b + 4 * i);
        } else {
          typename V::Codes low, high;
          V::nibbles_split(at, &low, &high);
          HW_UNROLL for (int n = 0; n < QN; n++) {
            const typename V::I half = V::dot_nibbles(sum[n * KV + v], low, q[n] + 32 * b + 4 * i);
            sum[n * KV + v] = V::dot_nibbles(half, high, q[n] + 32 * b + 16 + 4 * i);
          }
        }
      }
    }
    const uint8_t* scales = kv_scales(T, head, dim, b) + 2 * j;
    HW_UNROLL for (int v = 0; v < KV; v++) {
      const F d = V::half_load(scales + 2 * v * W);
      HW_UNROLL for (int n = 0; n < QN; n++)
        score[n * KV + v] = V::fma(V::mul(d, V::set(x[n].d[b])), V::to_float(sum[n * KV + v]), score[n * KV + v]);
    }
  }
  HW_UNROLL for (int n = 0; n < QN; n++)
    HW_UNROLL for (int v = 0; v < KV; v++) V::store(x[n].s + j + v * W, score[n * KV + v]);
}

// The positions of [*j0, *j1) that one of QN queries sees, from the beginning of a tile of `tile` positions on.
template <int QN>
inline void seen(const Query* x, int32_t tile, int32_t* j0, int32_t* j1) {
  int32_t lo = *j1, hi = *j0;
  for (int i = 0; i < QN; i++) {
    lo = x[i].k0 < lo ? x[i].k0 : lo;
    hi = x[i].k1 > hi ? x[i].k1 : hi;
  }
  *j0 = (lo < *j0 ? *j0 : lo) & ~(tile - 1);
  *j1 = hi > *j1 ? *j1 : hi;
}

// Scores of QN queries at positions [j0, j1) as far as one of them sees them, in whole tiles; j0 is a multiple of 32.
// What falls outside a query's range is never read. `decoded` holds the floats from j0 on, or is null.
template <KvType T, int QN, int KV>
__attribute__((noinline)) void score_block(const Piece& a, const Query* x, int32_t j0, int32_t j1, const float* decoded,
                                           Fetch& fetch) {
  const int32_t dim = a.shape->head_dim_k;
  int32_t first = j0, end = j1;
  seen<QN>(x, KV * W, &first, &end);
  for (int32_t j = first; j < end; j += KV * W) {
    if constexpr (T != KV_F16) {
      score_codes<T, QN, KV>(x, a.k, j, dim, fetch);
    } else if (decoded != nullptr) {
      FloatKeys keys[KV];
      HW_UNROLL for (int v = 0; v < KV; v++) keys[v] = FloatKeys::from(decoded, dim, j - j0 + v * W);
      score_floats<QN, KV>(x, keys, j, dim, fetch);
    } else {
      HalfKeys keys[KV];
      HW_UNROLL for (int v = 0; v < KV; v++) keys[v] = HalfKeys::from(a.k, dim, j + v * W);
      score_floats<QN, KV>(x, keys, j, dim, fetch);
    }
  }
}

template <KvType T>
inline void score_queries(const Piece& a, const Query* x, int n, int32_t j0, int32_t j1, const float* decoded,
                          Fetch& fetch) {
  constexpr int QN = V::key_queries, KV = V::key_vectors, most = 32 / W;  // a tile stays within its 32 keys
  int i = 0;
  for (; i + QN <= n; i += QN) score_block<T, QN, KV>(a, x + i, j0, j1, decoded, fetch);
  if (n - i == 3) score_block<T, 3, KV>(a, x + i, j0, j1, decoded, fetch);
  if (n - i == 2) score_block<T, 2, KV>(a, x + i, j0, j1, decoded, fetch);
  if (n - i == 1) score_block<T, 1, most>(a, x + i, j0, j1, decoded, fetch);
}

// The `part`-th of the four partials of the same: values [d0, d0 + count), of which `keys` holds the 32 from j0 on. The
// third waits in `parked`, 32 floats a query.
template <int QN, int KV>
__attribute__((noinline)) void score_part(const Query* x, int32_t j0, int32_t j1, const float* decoded, int32_t d0,
                                          int32_t count, int part, float* parked, Fetch& fetch) {
  int32_t first = j0, end = j1;
  seen<QN>(x, KV * W, &first, &end);
  const float* q[QN];
  HW_UNROLL for (int n = 0; n < QN; n++) q[n] = x[n].q + d0;
  for (int32_t j = first; j < end; j += KV * W) {
    FloatKeys keys[KV];
    HW_UNROLL for (int v = 0; v < KV; v++) keys[v] = FloatKeys::from(decoded, count, j - j0 + v * W);
    F a[QN * KV];
    HW_UNROLL for (int i = 0; i < QN * KV; i++) a[i] = V::zero();
    Fetch ahead = fetch;
    dot_values<1, QN, KV>(q, keys, 0, count, 0, a, a, ahead);
    fetch = ahead;
    HW_UNROLL for (int n = 0; n < QN; n++)
      HW_UNROLL for (int v = 0; v < KV; v++) {
        float* const score = x[n].s + j + v * W;
        float* const third = parked + n * 32 + j - j0 + v * W;
        F sum = a[n * KV + v];
        if (part == 3) sum = V::add(V::load(third), sum);
        if (part == 1 || part == 3) sum = V::add(V::load(score), sum);
        V::store(part == 2 ? third : score, sum);
      }
  }
}

// Keys so wide that 32 of them are more than the first level holds: quarter after quarter, each for all queries.
inline void score_quarters(const Piece& a, const Query* x, int n, int32_t j0, int32_t j1, Fetch& fetch) {
  constexpr int QN = V::key_queries, KV = V::key_vectors, most = 32 / W;
  const int32_t dim = a.shape->head_dim_k, each = (dim + 3) / 4;
  float* const parked = a.decoded + 32 * each;
  for (int part = 0; part < 4; part++) {
    const int32_t d0 = part * each, count = dim - d0 < each ? dim - d0 : each;
    for (int32_t j = j0; j < j1; j += kKeyGroup) {
      const uint8_t* const halves = a.k + (j * (int64_t)dim + d0 * kKeyGroup) * 2;
      float* const to = a.decoded + (j - j0) * (int64_t)count;
      for (int64_t i = 0; i < (int64_t)count * kKeyGroup; i += W) V::store(to + i, V::half_load(halves + 2 * i));
    }
    int i = 0;
    const auto rest = [&] { return parked + 32 * i; };
    for (; i + QN <= n; i += QN) score_part<QN, KV>(x + i, j0, j1, a.decoded, d0, count, part, rest(), fetch);
    if (n - i == 3) score_part<3, KV>(x + i, j0, j1, a.decoded, d0, count, part, rest(), fetch);
    if (n - i == 2) score_part<2, KV>(x + i, j0, j1, a.decoded, d0, count, part, rest(), fetch);
    if (n - i == 1) score_part<1, most>(x + i, j0, j1, a.decoded, d0, count, part, rest(), fetch);
  }
}

constexpr int32_t kWideKeys = 256;  // values: 32 keys of floats fill the first level

// One for the keys' type, whatever the values are.
template <KvType T>
__attribute__((noinline)) void all_scores(const Piece& a, const Query* x, int n) {
  const int32_t dim = a.shape->head_dim_k;
  const int64_t code_bytes = kv_code_bytes(T, dim), v_bytes = kv_code_bytes(a.values, a.shape->head_dim_v);
  if (a.v != nullptr) fetch_scales(a.values, a.v, a.shape->head_dim_v, a.first, a.end);
  for (int32_t j = a.first & ~31, j1; j < a.end; j = j1) {
    j1 = j + a.block < a.end ? j + a.block : a.end;
    const uint8_t* then = a.v == nullptr ? a.next : a.v + a.first * v_bytes;
    const int64_t then_bytes = a.v == nullptr ? code_bytes : v_bytes;
    Fetch fetch = fetch_ahead(a.k, code_bytes, j, j1, a.end, then, then_bytes, a.v == nullptr);
    if (T == KV_F16 && n > kPackedQueries && dim >= kWideKeys && a.block == 32) {
      score_quarters(a, x, n, j, j1, fetch);
      continue;
    }
    const float* decoded = nullptr;
    if (T == KV_F16 && n > kPackedQueries) {
      // Groups are whole, so what follows the first is one run of halves.
      const int64_t values = (int64_t)((j1 - j + 15) & ~15) * dim;
      for (int64_t i = 0; i < values; i += W) V::store(a.decoded + i, V::half_load(a.k + (j * (int64_t)dim + i) * 2));
      decoded = a.decoded;
    }
    score_queries<T>(a, x, n, j, j1, decoded, fetch);
  }
}
