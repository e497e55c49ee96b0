// Attention over one page, over the vector vocabulary (body/math.inl) plus what the parts name, from vec.h:
//   attention_scores.inl     scores of tiles of queries x keys, lanes that are keys
//   attention_values.inl     o[query][d], lanes that are values of a row
//
// Shape of the work, for up to kMaxQueries (token row, head) pairs at a time:
//   1. blocks of `block` positions: scores[query][position in page]
//   2. per query: scale, softcap, m, exp, l (positions outside [k0, k1) become exact "does not exist")
//   3. the values in blocks the same way; o[query][d] stays in registers over a block, keys ascending
// Many queries share a block of keys and values decoded to floats in scratch; few use them packed. Whatever the tile,
// each score has its own partial sums and each o[d] is one chain of fma over its own keys, so neither the other queries
// nor the blocking can change a bit.
#include "../kv_page.h"
#include "math.inl"

namespace hw {
namespace {

constexpr int kMaxQueries = 64;
constexpr int kPackedQueries = 8;  // up to here rows are used packed: decode with grouped queries

// Brings packed bytes near that are wanted soon, a line or two at a time: the hardware prefetcher stops at 4 KiB
// borders and knows nothing of the next page, and one burst of prefetches would fill the miss queue and stall.
// Non-temporal: a line that is used once need not push another out of the caches.
// Rows so wide that a block of them fills the first level, and those that are read twice, wait in the second.
struct Fetch {
  const uint8_t *p, *end;
  bool second;
  void step() {
    if (p < end) {
      if (second) {
        __builtin_prefetch(p, 0, 2);
      } else {
        __builtin_prefetch(p, 0, 0);
      }
      p += 64;
    }
  }
};

constexpr int64_t kFetchAhead = 8192;  // bytes

// What lies kFetchAhead behind positions [j, j1) of `rows`, which end at `end`; `then` (or null) follows on them.
inline Fetch fetch_ahead(const uint8_t* rows, int64_t row_bytes, int32_t j, int32_t j1, int32_t end,
                         const uint8_t* then, int64_t then_bytes, bool second) {
  const int32_t ahead = second ? 32 : (int32_t)((kFetchAhead / row_bytes + 63) & ~63);
  if (j + ahead < end) {
    const int32_t to = j1 + ahead < end ? j1 + ahead : end;
    return {rows + (j + ahead) * row_bytes, rows + to * row_bytes, second};
  }
  if (then == nullptr || j + ahead - end > kPagePositions - 32) return {nullptr, nullptr, second};
  const int32_t from = j + ahead - end, to = from + j1 - j < kPagePositions ? from + j1 - j : kPagePositions;
  return {then + from * then_bytes, then + to * then_bytes, second};
}

// The scales of a head are read in few places each, where no hardware prefetcher looks ahead.
inline void fetch_scales(KvType type, const uint8_t* head, int32_t dim, int32_t first, int32_t end) {
  for (int32_t b = 0; type != KV_F16 && b < dim / 32; b++) {
    const uint8_t* const scales = kv_scales(type, head, dim, b);
    for (const uint8_t *p = scales + 2 * first, *to = scales + 2 * end; p < to; p += 64) __builtin_prefetch(p, 0, 2);
  }
}

// Loops over register arrays must unroll before the compiler decides what lives in memory.
#if defined(__clang__)
#define HW_UNROLL _Pragma("clang loop unroll(full)")
#else
#define HW_UNROLL _Pragma("GCC unroll 16")
#endif

// A query and its place: range of positions, scores [kPagePositions], output accumulator [head_dim_v padded].
struct Query {
  const float* q;       // f16
  const int8_t* codes;  // q8_0, q4_0: as ACTS_Q8_32
  const float* d;
  const int16_t* sums;
  float *s, *o;
  int32_t k0, k1;
  float slope;  // ALiBi; `at` counts from the page's first position
  int32_t at;
};

alignas(64) constexpr float kRamp[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// What one call knows; the steps work on up to kMaxQueries of its queries at a time.
struct Piece {
  const AttnPiece* shape;
  KvType keys, values;  // their types
  const uint8_t *k, *v, *next;
  int32_t vp;                // head_dim_v padded to 16
  int32_t block, first, end; // positions worked on at a time, a multiple of 32; positions some query needs
  float* decoded;            // [block][max(head_dim_k, vp)]
};

#include "attention_scores.inl"
#include "attention_values.inl"

// m, l and the scores turned into exp(score - m). Steps of 32 positions, a vector for each partial: an index that is no
// constant would keep the partials in memory.
inline void softmax_query(const AttnPiece* a, const Query& x, float* m, float* l) {
  const F none = V::set(-__builtin_inff()), scale = V::set(a->scale), cap = V::set(a->softcap);
  const F fall = V::set(-x.slope), ramp = V::load(kRamp);
  const int32_t first = x.k0 & ~31;
  F p[NV];
  HW_UNROLL for (int i = 0; i < NV; i++) p[i] = none;
  for (int32_t j = first; j < x.k1; j += 32) {
    const bool edge = j < x.k0 || j + 32 > x.k1;
    HW_UNROLL for (int i = 0; i < NV; i++) {
      const int32_t at = j + i * W;
      F v = V::mul(V::load(x.s + at), scale);
      if (a->softcap > 0.0f) v = vec_softcap(v, cap);
      if (a->slopes) v = V::fma(fall, V::abs(V::sub(V::set((float)(x.at - at)), ramp)), v);
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

// Scratch, in floats: decoded rows, then per query scores, and padded copies of o where the head is not a multiple of
// 16. At kMaxHeadDim rows take 256 KiB and a query 1 KiB, or 9 where it must be padded: 28 queries still fit.
template <KvType K, KvType VT>
void attn_piece(const AttnPiece* shape, const Acts* q, int32_t rows, int32_t heads, const void* k, const void* v,
                const int32_t* k0, const int32_t* k1, const void* next, float* m, float* l, float* o, void* scratch) {
  const int32_t dk = shape->head_dim_k, dv = shape->head_dim_v, vp = (dv + 15) & ~15, widest = dk > vp ? dk : vp;
  int32_t block = 4096 / widest & ~31;  // 16 KiB of decoded rows: a third of L1
  block = block < 32 ? 32 : block > 64 ? 64 : block;
  float* const decoded = (float*)scratch;
  float* const pool = decoded + (int64_t)block * ((widest + 15) & ~15);
  const int64_t per_query = kPagePositions + (vp != dv ? vp : 0);
  const int64_t fit = ((int64_t)(kScratchBytes / sizeof(float)) - (pool - decoded)) / per_query;
  const int32_t step = fit > kMaxQueries ? kMaxQueries : (int32_t)fit & ~3;
  Piece a = {shape, K, VT, (const uint8_t*)k, (const uint8_t*)v, (const uint8_t*)next, vp, block, 0, 0, decoded};

  const int64_t total = (int64_t)rows * heads;
  for (int64_t c = 0; c < total; c += step) {
    const int n = (int)(total - c < step ? total - c : step);
    Query x[kMaxQueries];
    a.first = kPagePositions, a.end = 0;
    for (int i = 0; i < n; i++) {
      const int64_t r = (c + i) / heads, h = (c + i) % heads;
      x[i].s = pool + (int64_t)i * kPagePositions;
      if constexpr (K == KV_F16) {
        x[i].q = q->f32 + r * q->f32_stride + h * dk;
      } else {
        x[i].codes = q->q + r * q->q_stride + h * dk;
        x[i].d = q->d + r * q->d_stride + h * (dk / 32);
        x[i].sums = q->sums + r * q->sums_stride + h * (dk / 16);
      }
      x[i].o = vp != dv ? pool + (int64_t)n * kPagePositions + (int64_t)i * vp : o + (c + i) * dv;
      for (int32_t d = 0; d < vp; d += W) V::store(x[i].o + d, V::zero());
      x[i].k0 = k0[r];
      x[i].k1 = k1[r];
      x[i].slope = shape->slopes ? shape->slopes[h] : 0.0f;
      x[i].at = shape->slopes ? shape->at[r] : 0;
      a.first = k0[r] < a.first ? k0[r] : a.first;
      a.end = k1[r] > a.end ? k1[r] : a.end;
    }
    all_scores<K>(a, x, n);
    for (int i = 0; i < n; i++) softmax_query(shape, x[i], m + c + i, l + c + i);
    all_values<VT>(a, x, n);
    if (vp != dv)
      for (int i = 0; i < n; i++)
        for (int32_t d = 0; d < dv; d++) o[(c + i) * dv + d] = x[i].o[d];
  }
}

template <KvType T>
void attn_scores(const Acts* q, int32_t heads, int32_t dim, const void* k, int32_t end, float* out, void* scratch) {
  const AttnPiece shape = {dim, dim, 1.0f, 0.0f};
  int32_t block = 4096 / dim & ~31;
  block = block < 32 ? 32 : block > 64 ? 64 : block;
  // No values follow: the keys themselves are what is near.
  Piece a = {&shape, T, T, (const uint8_t*)k, (const uint8_t*)k, nullptr, dim, block, 0, end, (float*)scratch};
  for (int32_t h = 0; h < heads; h += kMaxQueries) {
    const int n = heads - h < kMaxQueries ? heads - h : kMaxQueries;
    Query x[kMaxQueries];
    for (int i = 0; i < n; i++) {
      const int64_t head = h + i;
      x[i].s = out + head * kPagePositions;
      x[i].k0 = 0, x[i].k1 = end;
      if constexpr (T == KV_F16) {
        x[i].q = q->f32 + head * dim;
      } else {
        x[i].codes = q->q + head * dim;
        x[i].d = q->d + head * (dim / 32);
        x[i].sums = q->sums + head * (dim / 16);
      }
    }
    all_scores<T>(a, x, n);
  }
}

void attn_fold(const float* mp, const float* lp, const float* op, int32_t n, int32_t dim, float* m, float* l,
               float* o) {
  for (int32_t i = 0; i < n; i += W) {
    const int32_t lanes = n - i < W ? n - i : W;
    const F old = V::load_n(m + i, lanes), piece = V::load_n(mp + i, lanes), top = V::max(old, piece);
    float a[W], b[W];
    const F scale = vec_exp(V::sub(old, top)), other = vec_exp(V::sub(piece, top));
    V::store(a, scale), V::store(b, other);
    V::store_n(l + i, V::fma(other, V::load_n(lp + i, lanes), V::mul(V::load_n(l + i, lanes), scale)), lanes);
    V::store_n(m + i, top, lanes);
    for (int32_t t = 0; t < lanes; t++, op += dim, o += dim) {
      const F s = V::set(a[t]), p = V::set(b[t]);
      int32_t d = 0;
      for (; d + W <= dim; d += W) V::store(o + d, V::fma(p, V::load(op + d), V::mul(V::load(o + d), s)));
      if (d < dim)
        V::store_n(o + d, V::fma(p, V::load_n(op + d, dim - d), V::mul(V::load_n(o + d, dim - d), s)), dim - d);
    }
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

template <KvType K>
void fill_pieces(AttnPieceFn* of_values) {
  of_values[KV_F16] = attn_piece<K, KV_F16>;
  of_values[KV_Q8_0] = attn_piece<K, KV_Q8_0>;
  of_values[KV_Q4_0] = attn_piece<K, KV_Q4_0>;
}

inline void fill_attention(Kernels* k) {
  fill_pieces<KV_F16>(k->attn_piece[KV_F16]);
  fill_pieces<KV_Q8_0>(k->attn_piece[KV_Q8_0]);
  fill_pieces<KV_Q4_0>(k->attn_piece[KV_Q4_0]);
  k->attn_scores[KV_F16] = attn_scores<KV_F16>;
  k->attn_scores[KV_Q8_0] = attn_scores<KV_Q8_0>;
  k->attn_scores[KV_Q4_0] = attn_scores<KV_Q4_0>;
  k->attn_fold = attn_fold;
  k->kv_store[KV_F16] = kv_store_f16;
  k->kv_store[KV_Q8_0] = kv_store_q8_0;
  k->kv_store[KV_Q4_0] = kv_store_q4_0;
}

}  // namespace
}  // namespace hw
