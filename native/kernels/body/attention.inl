// Attention over one page, over the vector vocabulary (body/math.inl) plus, from vec.h:
//   tile_queries, accumulators    the register tiles: queries of one, sums kept by one over the values
//   in_register(v)           v, kept from being loaded again as a memory operand
//   half_load/store[_n], half_all, i8_load, nibbles_load    packed values to floats; half_all: one half in all lanes
//   reduce(a)                the last log2(W) tree levels of W scores at once, score i in lane i
//   scatter<Q>(v, out)       the W / Q lanes of each of Q queries to out[q], Q = 1, 2, tile_queries
//
// Shape of the work, for up to kMaxQueries (token row, head) pairs at a time:
//   1. keys in blocks of `block` rows, decoded once to f32 in scratch (or, for few queries, used packed); a small GEMM
//      of query tiles against them gives scores[query][position in page]. An ISA with many
//      registers (HW_ATTENTION_BY_KEYS) does it for many queries with lanes that are keys: attention_keys.inl
//   2. per query: scale, softcap, m, exp, l (positions outside [k0, k1) become exact "does not exist")
//   3. values in blocks the same way; o[query][d] stays in registers over a block, keys ascending
// Whatever the tile, each score is the 32-partial dot and the fixed tree, and each o[d] one chain of fma over its own
// keys, so neither the other queries nor the blocking can change a bit.
#include "../kv_rows.h"
#include "math.inl"

namespace hw {
namespace {

constexpr int kMaxQueries = 64;
constexpr int kPackedQueries = 8;  // up to here f16 rows are used packed: decode with grouped queries

// Brings the packed rows of the next block near while this one is worked on, a few lines per register tile: the
// hardware prefetcher stops at 4 KiB borders, and one burst of prefetches would fill the miss queue and stall. Into the
// second level: fetches for the first hold its miss buffers until memory answers.
struct Fetch {
  const uint8_t *p, *end;
  int lines;  // per step
  Fetch(const uint8_t* rows, int64_t bytes, int64_t steps)
      : p(rows), end(rows + bytes), lines((int)((bytes / 64 + steps) / steps)) {}
  void step() {
    for (int i = 0; i < lines && p < end; i++, p += 64) __builtin_prefetch(p, 0, 2);
  }
};

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
  } else if constexpr (T == KV_Q8_0) {
    for (int32_t b = 0; b < dim; b += 32, p += 34) {
      const F d = V::half_all(p);
      for (int i = 0; i < 32; i += W) V::store(out + b + i, V::mul(d, V::i8_load(p + 2 + i)));
    }
  } else {
    for (int32_t b = 0; b < dim; b += 32, p += 18) {
      const F d = V::half_all(p);
      for (int i = 0; i < 16; i += W) {
        F lo, hi;
        V::nibbles_load(p + 2 + i, &lo, &hi);
        V::store(out + b + i, V::mul(d, lo));
        V::store(out + b + 16 + i, V::mul(d, hi));
      }
    }
  }
}

// Rows [j0, j1) of a page to out, padded with zeros to `padded` columns.
template <KvType T>
inline void decode_rows(const uint8_t* rows, int32_t j0, int32_t j1, int32_t dim, int32_t padded, float* out) {
  const int64_t bytes = kv_row_bytes(T, dim);
  for (int32_t j = j0; j < j1; j++, out += padded) decode_row<T>(rows + j * bytes, out, dim, padded);
}

// Where the rows of a tile come from: decoded floats in scratch, or packed halves turned into floats at each load,
// which pays while few tiles load the same value.
struct Floats {
  const float* p;
  int64_t stride;
  F load(int64_t row, int64_t col) const { return V::load(p + row * stride + col); }
  Floats from(int64_t row, int64_t col) const { return {p + row * stride + col, stride}; }
};
struct Halves {
  const uint8_t* p;
  int64_t stride;  // values
  F load(int64_t row, int64_t col) const { return V::half_load(p + 2 * (row * stride + col)); }
  Halves from(int64_t row, int64_t col) const { return {p + 2 * (row * stride + col), stride}; }
};

// Loops over register arrays must unroll before the compiler decides what lives in memory.
#if defined(__clang__)
#define HW_UNROLL _Pragma("clang loop unroll(full)")
#else
#define HW_UNROLL _Pragma("GCC unroll 16")
#endif

// out[n * KN + i] = partials [first, first + W) of dot(q[n], k row i). Summed in an array of its own: `out` has an
// address, and where a vector is a struct (NEON) GCC would store every sum in every step.
template <int QN, int KN, class Rows>
inline void dot_pass(const float* const* q, const Rows k, int32_t dim, int first, F* out) {
  const F zero = V::zero();
  F kv[KN], a[QN * KN];
  HW_UNROLL for (int i = 0; i < KN; i++) kv[i] = QN == 1 ? k.load(i, first) : V::in_register(k.load(i, first));
  HW_UNROLL for (int n = 0; n < QN; n++) {
    const F qv = V::load(q[n] + first);
    HW_UNROLL for (int i = 0; i < KN; i++) a[n * KN + i] = V::fma(kv[i], qv, zero);
  }
  for (int32_t c = first + 32; c < dim; c += 32) {
    HW_UNROLL for (int i = 0; i < KN; i++) kv[i] = QN == 1 ? k.load(i, c) : V::in_register(k.load(i, c));
    HW_UNROLL for (int n = 0; n < QN; n++) {
      const F qv = V::load(q[n] + c);
      HW_UNROLL for (int i = 0; i < KN; i++) a[n * KN + i] = V::fma(kv[i], qv, a[n * KN + i]);
    }
  }
  HW_UNROLL for (int i = 0; i < QN * KN; i++) out[i] = a[i];
}

// scores[n][0..KN) = dot(q[n], k row i), QN * KN = W. The upper partials wait in memory: two sets of W accumulators do
// not fit the registers.
template <int QN, class Rows>
inline void score_tile(const float* const* q, const Rows k, int32_t dim, float* const* out) {
  constexpr int KN = W / QN;
  alignas(64) float upper[W * W];
  F a[W];
  dot_pass<QN, KN>(q, k, dim, 16, a);
  HW_UNROLL for (int i = 0; i < W; i++) V::store(upper + i * W, a[i]);
  dot_pass<QN, KN>(q, k, dim, 0, a);
  HW_UNROLL for (int i = 0; i < W; i++) a[i] = V::add(a[i], V::load(upper + i * W));
  if constexpr (W == 8) {
    alignas(64) float even[W * W];
    HW_UNROLL for (int i = 0; i < W; i++) V::store(even + i * W, a[i]);
    dot_pass<QN, KN>(q, k, dim, 24, a);
    HW_UNROLL for (int i = 0; i < W; i++) V::store(upper + i * W, a[i]);
    dot_pass<QN, KN>(q, k, dim, 8, a);
    HW_UNROLL for (int i = 0; i < W; i++)
      a[i] = V::add(V::load(even + i * W), V::add(a[i], V::load(upper + i * W)));
  }
  V::scatter<QN>(V::reduce(a), out);
}

// A query and its place: range of positions, scores [256], output accumulator [head_dim_v padded].
struct Query {
  const float* q;
  float *s, *o;
  int32_t k0, k1;
};

// Scores of the first n <= QN queries against rows k, positions [j0, j1); a multiple of KN = W / QN rows is computed,
// and what falls outside a query's range is never read. Row j0 is a multiple of 16 and rows up to j1 rounded up exist.
template <int QN, class Rows>
inline void score_block(const Query* queries, int n, const Rows k, int32_t j0, int32_t j1, int32_t dim, Fetch& fetch) {
  constexpr int KN = W / QN;
  const float* q[QN];
  int32_t lo = j1, hi = j0;
  for (int i = 0; i < QN; i++) {
    const Query& x = queries[i < n ? i : 0];
    q[i] = x.q;
    lo = x.k0 < lo ? x.k0 : lo;
    hi = x.k1 > hi ? x.k1 : hi;
  }
  lo = lo < j0 ? j0 : lo;
  hi = hi > j1 ? j1 : hi;
  for (int32_t j = lo & ~(KN - 1); j < hi; j += KN) {
    float unused[KN], *out[QN];
    for (int i = 0; i < QN; i++) out[i] = i < n ? queries[i].s + j : unused;
    fetch.step();
    score_tile<QN>(q, k.from(j - j0, 0), dim, out);
  }
}

template <class Rows>
inline void score_queries(const Query* x, int n, const Rows k, int32_t j0, int32_t j1, int32_t dim, Fetch& fetch) {
  constexpr int T = V::tile_queries;
  int i = 0;
  for (; i + T <= n; i += T) score_block<T>(x + i, T, k, j0, j1, dim, fetch);
  if (n - i == 3) score_block<T>(x + i, 3, k, j0, j1, dim, fetch);
  if (n - i == 2) score_block<2>(x + i, 2, k, j0, j1, dim, fetch);
  if (n - i == 1) score_block<1>(x + i, 1, k, j0, j1, dim, fetch);
}

// m, l and the scores turned into exp(score - m). Steps of 32 positions, a vector for each partial: an index that is no
// constant would keep the partials in memory.
inline void softmax_query(const AttnPiece* a, const Query& x, float* m, float* l) {
  const F none = V::set(-__builtin_inff()), scale = V::set(a->scale), cap = V::set(a->softcap);
  const int32_t first = x.k0 & ~31;
  F p[NV];
  HW_UNROLL for (int i = 0; i < NV; i++) p[i] = none;
  for (int32_t j = first; j < x.k1; j += 32) {
    const bool edge = j < x.k0 || j + 32 > x.k1;
    HW_UNROLL for (int i = 0; i < NV; i++) {
      const int32_t at = j + i * W;
      F v = V::mul(V::load(x.s + at), scale);
      if (a->softcap > 0.0f) v = vec_softcap(v, cap);
      if (edge) v = V::keep(v, x.k0 - at, x.k1 - at, none);
      V::store(x.s + at, v);
      p[i] = V::max(v, p[i]);
    }
  }
  *m = vec_tree_max(p);
  const F top = V::set(*m);
  HW_UNROLL for (int i = 0; i < NV; i++) p[i] = V::zero();
  for (int32_t j = first; j < x.k1; j += 32) {
    const bool edge = j < x.k0 || j + 32 > x.k1;
    HW_UNROLL for (int i = 0; i < NV; i++) {
      const int32_t at = j + i * W;
      F e = vec_exp(V::sub(V::load(x.s + at), top));
      if (edge) e = V::keep(e, x.k0 - at, x.k1 - at, V::zero());
      V::store(x.s + at, e);
      p[i] = V::add(p[i], e);
    }
  }
  *l = vec_tree_sum(p);
}

// o[n][d..] = fma chain over positions [j0, j1) for DN vectors of the rows v, whose first is position `base`.
template <int QN, int DN, class Rows>
inline void value_tile(const Query* x, const Rows v, int32_t base, int32_t j0, int32_t j1, int32_t d, Fetch& fetch) {
  Fetch ahead = fetch;
  F acc[QN][DN];
  HW_UNROLL for (int n = 0; n < QN; n++)
    HW_UNROLL for (int i = 0; i < DN; i++) acc[n][i] = V::load(x[n].o + d + i * W);
  Rows row = v.from(j0 - base, d);
  for (int32_t j = j0; j < j1; j++, row = row.from(1, 0)) {
    ahead.step();
    F vv[DN];
    HW_UNROLL for (int i = 0; i < DN; i++) vv[i] = QN == 1 ? row.load(0, i * W) : V::in_register(row.load(0, i * W));
    HW_UNROLL for (int n = 0; n < QN; n++) {
      const F p = V::set(x[n].s[j]);
      HW_UNROLL for (int i = 0; i < DN; i++) acc[n][i] = V::fma(p, vv[i], acc[n][i]);
    }
  }
  HW_UNROLL for (int n = 0; n < QN; n++)
    HW_UNROLL for (int i = 0; i < DN; i++) V::store(x[n].o + d + i * W, acc[n][i]);
  fetch = ahead;
}

// Tiles of DN vectors over columns [d, dim), the rest with half as many.
template <int QN, int DN, class Rows>
inline void value_columns(const Query* x, const Rows v, int32_t base, int32_t j0, int32_t j1, int32_t d, int32_t dim,
                          Fetch& fetch) {
  for (; d + DN * W <= dim; d += DN * W) value_tile<QN, DN>(x, v, base, j0, j1, d, fetch);
  if constexpr (DN > 1)
    if (d < dim) value_columns<QN, DN / 2>(x, v, base, j0, j1, d, dim, fetch);
}

template <int QN, class Rows>
inline void value_span(const Query* x, const Rows v, int32_t base, int32_t j0, int32_t j1, int32_t dim, Fetch& fetch) {
  constexpr int DN = V::accumulators / QN < 8 ? V::accumulators / QN : 8;
  if (j0 < j1) value_columns<QN, DN>(x, v, base, j0, j1, 0, dim, fetch);
}

// The positions all QN queries share in one tile; each query's own positions before and after them alone.
template <int QN, class Rows>
inline void value_block(const Query* x, const Rows v, int32_t j0, int32_t j1, int32_t dim, Fetch& fetch) {
  int32_t lo[QN], hi[QN], a = j0, b = j1;
  for (int n = 0; n < QN; n++) {
    lo[n] = x[n].k0 > j0 ? x[n].k0 : j0;
    hi[n] = x[n].k1 < j1 ? x[n].k1 : j1;
    a = lo[n] > a ? lo[n] : a;
    b = hi[n] < b ? hi[n] : b;
  }
  if (a >= b) {
    for (int n = 0; n < QN; n++) value_span<1>(x + n, v, j0, lo[n], hi[n], dim, fetch);
    return;
  }
  for (int n = 0; n < QN; n++) value_span<1>(x + n, v, j0, lo[n], a, dim, fetch);
  value_span<QN>(x, v, j0, a, b, dim, fetch);
  for (int n = 0; n < QN; n++) value_span<1>(x + n, v, j0, b, hi[n], dim, fetch);
}

// `x` has room for one more query than n, so that a tile of four that lacks one is filled up with a copy that writes
// elsewhere.
template <class Rows>
inline void value_queries(Query* x, int n, float* spare, const Rows v, int32_t j0, int32_t j1, int32_t dim,
                          Fetch& fetch) {
  constexpr int T = V::tile_queries;
  int i = 0;
  for (; i + T <= n; i += T) value_block<T>(x + i, v, j0, j1, dim, fetch);
  if (n - i == 3) {
    x[n] = x[i];
    x[n].o = spare;
    value_block<T>(x + i, v, j0, j1, dim, fetch);
    return;
  }
  if (n - i == 2) value_block<2>(x + i, v, j0, j1, dim, fetch);
  if (n - i == 1) value_block<1>(x + i, v, j0, j1, dim, fetch);
}

// What one call knows; the steps below work on up to kMaxQueries of its queries at a time.
struct Piece {
  const AttnPiece* shape;
  const uint8_t *k, *v;
  int32_t kp, vp;            // head dimensions padded to 32 and 16
  int32_t block, first, end; // rows decoded at a time; positions some query needs
  float *decoded, *spare;    // [block][max(kp, vp)], [vp]
  float* rows;               // [W][kp]: on their way to being transposed
};

#ifdef HW_ATTENTION_BY_KEYS
#include "attention_keys.inl"
#endif

template <KvType T, bool packed>
inline void all_scores(const Piece& a, const Query* x, int n) {
  const int32_t dk = a.shape->head_dim_k, dv = a.shape->head_dim_v, start = a.first & ~15;
  const int64_t k_bytes = kv_row_bytes(T, dk), v_bytes = kv_row_bytes(T, dv);
  for (int32_t j = start, j1; j < a.end; j = j1) {
    j1 = j + a.block < a.end ? j + a.block : a.end;
    const int64_t tiles = ((int64_t)n * (j1 - j) + W - 1) / W, ahead = j1 + a.block < a.end ? a.block : a.end - j1;
    Fetch fetch = ahead > 0 ? Fetch(a.k + j1 * k_bytes, ahead * k_bytes, tiles)
                            : Fetch(a.v + a.first * v_bytes, (j1 - j) * v_bytes, tiles);
    // A tile reads whole groups of rows, which the packed page need not have after its last position.
    if constexpr (packed)
      if (a.kp == dk && j1 % 16 == 0) {
        score_queries(x, n, Halves{a.k + j * k_bytes, dk}, j, j1, dk, fetch);
        continue;
      }
    const int32_t j0 = j < a.first ? a.first : j;
    decode_rows<T>(a.k, j0, j1, dk, a.kp, a.decoded + (int64_t)(j0 - j) * a.kp);
    score_queries(x, n, Floats{a.decoded, a.kp}, j, j1, a.kp, fetch);
  }
}

template <KvType T>
inline void many_scores(const Piece& a, const Query* x, int n) {
#ifdef HW_ATTENTION_BY_KEYS
  all_scores_by_keys<T>(a, x, n);
#else
  all_scores<T, false>(a, x, n);
#endif
}

template <KvType T, bool packed>
inline void all_values(const Piece& a, Query* x, int n) {
  const int32_t dv = a.shape->head_dim_v, start = a.first & ~15;
  const int64_t v_bytes = kv_row_bytes(T, dv);
  for (int32_t j = start, j1; j < a.end; j = j1) {
    j1 = j + a.block < a.end ? j + a.block : a.end;
    const int64_t tiles = (int64_t)(j1 - j) * n * a.vp / (V::accumulators * W);
    const int64_t ahead = j1 + a.block < a.end ? a.block : a.end - j1;
    Fetch fetch(a.v + j1 * v_bytes, ahead * v_bytes, tiles < 1 ? 1 : tiles);
    if constexpr (packed)
      if (a.vp == dv) {
        value_queries(x, n, a.spare, Halves{a.v + j * v_bytes, dv}, j, j1, dv, fetch);
        continue;
      }
    const int32_t j0 = j < a.first ? a.first : j;
    decode_rows<T>(a.v, j0, j1, dv, a.vp, a.decoded + (int64_t)(j0 - j) * a.vp);
    value_queries(x, n, a.spare, Floats{a.decoded, a.vp}, j, j1, a.vp, fetch);
  }
}

// Scratch, in floats: decoded rows, a spare output, then per query scores and padded copies of q and o where the head
// is not a multiple of 32 (q) or 16 (o). At kMaxHeadDim rows take 384 KiB and a query 1 KiB, or 17 where it must be
// padded: 7 queries still fit.
template <KvType T>
void attn_piece(const AttnPiece* shape, const float* q, int64_t q_row_stride, int32_t rows, int32_t heads,
                const void* k, const void* v, const int32_t* k0, const int32_t* k1, float* m, float* l, float* o,
                void* scratch) {
  const int32_t dk = shape->head_dim_k, dv = shape->head_dim_v, kp = (dk + 31) & ~31, vp = (dv + 15) & ~15;
  const int32_t widest = kp > vp ? kp : vp;
  int32_t block = 4096 / widest & ~31;  // 16 KiB of decoded rows: half of L1
  block = block < 32 ? 32 : block > 64 ? 64 : block;
  float* const decoded = (float*)scratch;
  float* const spare = decoded + (int64_t)block * widest;
  float* const turned = spare + vp;
  float* const pool = turned + W * kp;
  const int64_t per_query = kPagePositions + (kp != dk ? kp : 0) + (vp != dv ? vp : 0);
  const int64_t fit = ((int64_t)(kScratchBytes / sizeof(float)) - (pool - decoded)) / per_query;
  const int32_t step = fit > kMaxQueries ? kMaxQueries : (int32_t)fit & ~3;
  Piece a = {shape, (const uint8_t*)k, (const uint8_t*)v, kp, vp, block, 0, 0, decoded, spare, turned};

  const int64_t total = (int64_t)rows * heads;
  for (int64_t c = 0; c < total; c += step) {
    const int n = (int)(total - c < step ? total - c : step);
    Query x[kMaxQueries + 1];
    a.first = kPagePositions, a.end = 0;
    for (int i = 0; i < n; i++) {
      const int64_t r = (c + i) / heads, h = (c + i) % heads;
      float* mem = pool + (int64_t)i * per_query;
      x[i].s = mem;
      mem += kPagePositions;
      x[i].q = q + r * q_row_stride + h * dk;
      if (kp != dk) {
        for (int32_t d = 0; d < kp; d++) mem[d] = d < dk ? x[i].q[d] : 0.0f;
        x[i].q = mem;
        mem += kp;
      }
      x[i].o = vp != dv ? mem : o + (c + i) * dv;
      for (int32_t d = 0; d < vp; d += W) V::store(x[i].o + d, V::zero());
      x[i].k0 = k0[r];
      x[i].k1 = k1[r];
      a.first = k0[r] < a.first ? k0[r] : a.first;
      a.end = k1[r] > a.end ? k1[r] : a.end;
    }
    const bool packed = n <= kPackedQueries;
    packed ? all_scores<T, T == KV_F16>(a, x, n) : many_scores<T>(a, x, n);
    for (int i = 0; i < n; i++) softmax_query(shape, x[i], m + c + i, l + c + i);
    packed ? all_values<T, T == KV_F16>(a, x, n) : all_values<T, false>(a, x, n);
    if (vp != dv)
      for (int i = 0; i < n; i++)
        for (int32_t d = 0; d < dv; d++) o[(c + i) * dv + d] = x[i].o[d];
  }
}

void kv_store_f16(const float* x, void* out, int32_t head_dim) {
  uint8_t* p = (uint8_t*)out;
  int32_t i = 0;
  for (; i + W <= head_dim; i += W) V::half_store(p + 2 * i, V::load(x + i));
  if (i < head_dim) V::half_store_n(p + 2 * i, V::load_n(x + i, head_dim - i), head_dim - i);
}

// Plain C, compiled with this ISA's flags: storing is one row per token, far from any hot loop.
void kv_store_q8_0(const float* x, void* out, int32_t head_dim) { kv_encode_q8_0(x, (uint8_t*)out, head_dim); }
void kv_store_q4_0(const float* x, void* out, int32_t head_dim) { kv_encode_q4_0(x, (uint8_t*)out, head_dim); }

inline void fill_attention(Kernels* k) {
  k->attn_piece[KV_F16] = attn_piece<KV_F16>;
  k->attn_piece[KV_Q8_0] = attn_piece<KV_Q8_0>;
  k->attn_piece[KV_Q4_0] = attn_piece<KV_Q4_0>;
  k->kv_store[KV_F16] = kv_store_f16;
  k->kv_store[KV_Q8_0] = kv_store_q8_0;
  k->kv_store[KV_Q4_0] = kv_store_q4_0;
}

}  // namespace
}  // namespace hw
