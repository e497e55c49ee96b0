// Attention over one page, over the vector vocabulary (body/math.inl) plus, from vec.h:
//   tile_queries             queries of a register tile: 2 (16 registers) or 4 (32 registers)
//   half_load/store[_n], half_all, i8_load, nibbles_load    packed values to floats; half_all: one half in all lanes
//   reduce(a)                the last log2(W) tree levels of W scores at once, score i in lane i
//   scatter<Q>(v, out)       the W / Q lanes of each of Q queries to out[q]
//
// Shape of the work, for up to kMaxQueries (token row, head) pairs at a time:
//   1. keys in blocks of `block` rows, decoded once to f32 in scratch; a small GEMM of query tiles against them gives
//      scores[query][position in page]
//   2. per query: scale, softcap, m, exp, l (positions outside [k0, k1) become exact "does not exist")
//   3. values in blocks the same way; o[query][d] stays in registers over a block, keys ascending
// Whatever the tile, each score is the 32-partial dot and the fixed tree, and each o[d] one chain of fma over its own
// keys, so neither the other queries nor the blocking can change a bit.
#include "../kv_rows.h"
#include "math.inl"

namespace hw {
namespace {

constexpr int kMaxQueries = 64;
constexpr int kPrefetchBytes = 2048;  // ahead of the decoder; the hardware prefetcher stops at 4 KiB borders

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

// Rows [j0, j1) of a page to out, padded with zeros to `padded` columns. Fetches ahead, up to `end`.
template <KvType T>
inline void decode_rows(const uint8_t* rows, int32_t j0, int32_t j1, int32_t end, int32_t dim, int32_t padded,
                        float* out) {
  const int64_t bytes = kv_row_bytes(T, dim);
  const uint8_t* const last = rows + end * bytes;
  for (int32_t j = j0; j < j1; j++, out += padded) {
    const uint8_t* const p = rows + j * bytes;
    for (int64_t i = 0; i < bytes && p + i + kPrefetchBytes < last; i += 64) __builtin_prefetch(p + i + kPrefetchBytes);
    decode_row<T>(p, out, dim, padded);
  }
}

// Loops over register arrays must unroll before the compiler decides what lives in memory.
#if defined(__clang__)
#define HW_UNROLL _Pragma("clang loop unroll(full)")
#else
#define HW_UNROLL _Pragma("GCC unroll 16")
#endif

// a[n * KN + i] = partials [first, first + W) of dot(q[n], k row i).
template <int QN, int KN>
inline void dot_pass(const float* const* q, const float* k, int32_t dim, int first, F* a) {
  const F zero = V::zero();
  F kv[KN];
  HW_UNROLL for (int i = 0; i < KN; i++) kv[i] = V::load(k + (int64_t)i * dim + first);
  HW_UNROLL for (int n = 0; n < QN; n++) {
    const F qv = V::load(q[n] + first);
    HW_UNROLL for (int i = 0; i < KN; i++) a[n * KN + i] = V::fma(kv[i], qv, zero);
  }
  for (int32_t c = first + 32; c < dim; c += 32) {
    HW_UNROLL for (int i = 0; i < KN; i++) kv[i] = V::load(k + (int64_t)i * dim + c);
    HW_UNROLL for (int n = 0; n < QN; n++) {
      const F qv = V::load(q[n] + c);
      HW_UNROLL for (int i = 0; i < KN; i++) a[n * KN + i] = V::fma(kv[i], qv, a[n * KN + i]);
    }
  }
}

// scores[n][0..KN) = dot(q[n], k row i), QN * KN = W. The upper partials wait in memory: two sets of W accumulators do
// not fit the registers.
template <int QN>
inline void score_tile(const float* const* q, const float* k, int32_t dim, float* const* out) {
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

// Scores of QN queries against the decoded rows j0.. of k; rows * KN are computed from a multiple of KN, and what falls
// outside a query's range is never read.
template <int QN>
inline void score_block(const Query* queries, int n, const float* k, int32_t j0, int32_t j1, int32_t dim) {
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
    score_tile<QN>(q, k + (int64_t)(j - j0) * dim, dim, out);
  }
}

inline void score_queries(const Query* queries, int n, const float* k, int32_t j0, int32_t j1, int32_t dim) {
  constexpr int T = V::tile_queries;
  int i = 0;
  for (; i + T <= n; i += T) score_block<T>(queries + i, T, k, j0, j1, dim);
  if (n - i > 2) score_block<T>(queries + i, n - i, k, j0, j1, dim);
  else if (n - i == 2) score_block<2>(queries + i, 2, k, j0, j1, dim);
  else if (n - i == 1) score_block<1>(queries + i, 1, k, j0, j1, dim);
}

// m, l and the scores turned into exp(score - m).
inline void softmax_query(const AttnPiece* a, const Query& x, float* m, float* l) {
  const F none = V::set(-__builtin_inff()), scale = V::set(a->scale), cap = V::set(a->softcap);
  const int32_t first = x.k0 & ~(W - 1);
  F p[NV];
  for (int i = 0; i < NV; i++) p[i] = none;
  for (int32_t j = first; j < x.k1; j += W) {
    F v = V::mul(V::load(x.s + j), scale);
    if (a->softcap > 0.0f) v = vec_softcap(v, cap);
    v = V::keep(v, x.k0 - j, x.k1 - j, none);
    V::store(x.s + j, v);
    p[j / W % NV] = V::max(v, p[j / W % NV]);
  }
  *m = vec_tree_max(p);
  const F top = V::set(*m);
  for (int i = 0; i < NV; i++) p[i] = V::zero();
  for (int32_t j = first; j < x.k1; j += W) {
    const F e = V::keep(vec_exp(V::sub(V::load(x.s + j), top)), x.k0 - j, x.k1 - j, V::zero());
    V::store(x.s + j, e);
    p[j / W % NV] = V::add(p[j / W % NV], e);
  }
  *l = vec_tree_sum(p);
}

// o[n][d..] = fma chain over rows [j0, j1) of v (decoded, `dim` apart, row `base` first) for DN vectors.
template <int QN, int DN>
inline void value_tile(const Query* x, const float* v, int32_t base, int32_t j0, int32_t j1, int32_t dim, int32_t d) {
  F acc[QN][DN];
  HW_UNROLL for (int n = 0; n < QN; n++)
    HW_UNROLL for (int i = 0; i < DN; i++) acc[n][i] = V::load(x[n].o + d + i * W);
  const float* row = v + (int64_t)(j0 - base) * dim + d;
  for (int32_t j = j0; j < j1; j++, row += dim) {
    F vv[DN];
    HW_UNROLL for (int i = 0; i < DN; i++) vv[i] = V::load(row + i * W);
    HW_UNROLL for (int n = 0; n < QN; n++) {
      const F p = V::set(x[n].s[j]);
      HW_UNROLL for (int i = 0; i < DN; i++) acc[n][i] = V::fma(p, vv[i], acc[n][i]);
    }
  }
  HW_UNROLL for (int n = 0; n < QN; n++)
    HW_UNROLL for (int i = 0; i < DN; i++) V::store(x[n].o + d + i * W, acc[n][i]);
}

template <int QN>
inline void value_span(const Query* x, const float* v, int32_t base, int32_t j0, int32_t j1, int32_t dim) {
  if (j0 >= j1) return;
  int32_t d = 0;
  for (; d + 4 * W <= dim; d += 4 * W) value_tile<QN, 4>(x, v, base, j0, j1, dim, d);
  if (d + 2 * W <= dim) {
    value_tile<QN, 2>(x, v, base, j0, j1, dim, d);
    d += 2 * W;
  }
  if (d < dim) value_tile<QN, 1>(x, v, base, j0, j1, dim, d);
}

// The positions all QN queries share in one tile; each query's own positions before and after them alone.
template <int QN>
inline void value_block(const Query* x, const float* v, int32_t j0, int32_t j1, int32_t dim) {
  int32_t lo[QN], hi[QN], a = j0, b = j1;
  for (int n = 0; n < QN; n++) {
    lo[n] = x[n].k0 > j0 ? x[n].k0 : j0;
    hi[n] = x[n].k1 < j1 ? x[n].k1 : j1;
    a = lo[n] > a ? lo[n] : a;
    b = hi[n] < b ? hi[n] : b;
  }
  if (a >= b) {
    for (int n = 0; n < QN; n++) value_span<1>(x + n, v, j0, lo[n], hi[n], dim);
    return;
  }
  for (int n = 0; n < QN; n++) value_span<1>(x + n, v, j0, lo[n], a, dim);
  value_span<QN>(x, v, j0, a, b, dim);
  for (int n = 0; n < QN; n++) value_span<1>(x + n, v, j0, b, hi[n], dim);
}

inline void value_queries(const Query* x, int n, const float* v, int32_t j0, int32_t j1, int32_t dim) {
  int i = 0;
  if constexpr (V::tile_queries == 4)
    for (; i + 4 <= n; i += 4) value_block<4>(x + i, v, j0, j1, dim);
  for (; i + 2 <= n; i += 2) value_block<2>(x + i, v, j0, j1, dim);
  if (i < n) value_block<1>(x + i, v, j0, j1, dim);
}

// Scratch, in floats: decoded rows, then per query scores, and padded copies of q and o where the head is not a multiple
// of 32 (q) or 16 (o). At kMaxHeadDim the rows take 128 KiB and a query 17 KiB, so 22 queries still fit.
template <KvType T>
void attn_piece(const AttnPiece* a, const float* q, int64_t q_row_stride, int32_t rows, int32_t heads, const void* k,
                const void* v, const int32_t* k0, const int32_t* k1, float* m, float* l, float* o, void* scratch) {
  const int32_t dk = a->head_dim_k, dv = a->head_dim_v, kp = (dk + 31) & ~31, vp = (dv + 15) & ~15;
  const int32_t widest = kp > vp ? kp : vp;
  int32_t block = 4096 / widest & ~15;  // 16 KiB of decoded rows: half of L1
  block = block < 16 ? 16 : block > 64 ? 64 : block;
  float* const decoded = (float*)scratch;
  float* const pool = decoded + (int64_t)block * widest;
  const int32_t per_query = kPagePositions + (kp != dk ? kp : 0) + (vp != dv ? vp : 0);
  int64_t fit = ((int64_t)(kScratchBytes / sizeof(float)) - (int64_t)block * widest) / per_query;
  const int32_t step = fit > kMaxQueries ? kMaxQueries : (int32_t)fit & ~3;

  const int64_t total = (int64_t)rows * heads;
  for (int64_t c = 0; c < total; c += step) {
    const int n = (int)(total - c < step ? total - c : step);
    Query x[kMaxQueries];
    int32_t first = kPagePositions, end = 0;
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
      first = k0[r] < first ? k0[r] : first;
      end = k1[r] > end ? k1[r] : end;
    }
    const int32_t start = first & ~15;
    for (int32_t j = start; j < end; j += block) {
      const int32_t j1 = j + block < end ? j + block : end, j0 = j < first ? first : j;
      decode_rows<T>((const uint8_t*)k, j0, j1, end, dk, kp, decoded + (int64_t)(j0 - j) * kp);
      score_queries(x, n, decoded, j, j1, kp);
    }
    for (int i = 0; i < n; i++) softmax_query(a, x[i], m + c + i, l + c + i);
    for (int32_t j = start; j < end; j += block) {
      const int32_t j1 = j + block < end ? j + block : end, j0 = j < first ? first : j;
      decode_rows<T>((const uint8_t*)v, j0, j1, end, dv, vp, decoded + (int64_t)(j0 - j) * vp);
      value_queries(x, n, decoded, j, j1, vp);
    }
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
