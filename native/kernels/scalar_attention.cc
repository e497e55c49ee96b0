// Attention over one page in plain loops, one (token row, query head) at a time: the definition of the bits.
#include "kernels.h"
#include "kv_page.h"

namespace hw {
namespace {

float half_at(const uint8_t* p) { return half_to_float((uint16_t)(p[0] | p[1] << 8)); }

// Code d of a key: its block's byte or half byte.
template <KvType T>
int32_t key_code(const uint8_t* k, int32_t dim, int32_t position, int32_t d) {
  const uint8_t* group = kv_key_group(T, k, dim, position & ~(kKeyGroup - 1));
  const int32_t lane = position % kKeyGroup;
  if (T == KV_Q8_0) return (int8_t)group[(d / 4 * kKeyGroup + lane) * 4 + d % 4];
  const int32_t i = d % 16;
  const uint8_t byte = group[((d / 32 * 4 + i / 4) * kKeyGroup + lane) * 4 + i % 4];
  return (d % 32 < 16 ? byte & 15 : byte >> 4) - 8;
}

float score_f16(const float* q, const uint8_t* k, int32_t dim, int32_t position) {
  const uint8_t* group = kv_key_group(KV_F16, k, dim, position & ~(kKeyGroup - 1));
  const int32_t n = (dim + 3) / 4;
  float p[4] = {0, 0, 0, 0};
  for (int32_t d = 0; d < dim; d++)
    p[d / n] = __builtin_fmaf(half_at(group + (d * kKeyGroup + position % kKeyGroup) * 2), q[d], p[d / n]);
  return (p[0] + p[1]) + (p[2] + p[3]);
}

template <KvType T>
float score_codes(const int8_t* q, const float* d_q, const uint8_t* k, int32_t dim, int32_t position) {
  float sum = 0.0f;
  for (int32_t b = 0; b < dim / 32; b++) {
    int32_t isum = 0;
    for (int32_t i = 32 * b; i < 32 * b + 32; i++) isum += key_code<T>(k, dim, position, i) * q[i];
    const float d = half_at(kv_scales(T, k, dim, b) + 2 * position) * d_q[b];
    sum = __builtin_fmaf(d, (float)isum, sum);
  }
  return sum;
}

// The same of values that are the first of a key.
template <KvType T>
void add_latent(float e, const uint8_t* k, int32_t dim_k, int32_t dim, int32_t position, float* o) {
  for (int32_t d = 0; d < dim; d++) {
    if (T == KV_F16) {
      const uint8_t* group = kv_key_group(KV_F16, k, dim_k, position & ~(kKeyGroup - 1));
      o[d] = __builtin_fmaf(e, half_at(group + (d * kKeyGroup + position % kKeyGroup) * 2), o[d]);
      continue;
    }
    const float w = e * half_at(kv_scales(T, k, dim_k, d / 32) + 2 * position);
    o[d] = __builtin_fmaf(w, (float)key_code<T>(k, dim_k, position, d), o[d]);
  }
}

// o += e * (row `position` of the values)
template <KvType T>
void add_value(float e, const uint8_t* v, int32_t dim, int32_t position, float* o) {
  const uint8_t* row = v + position * kv_code_bytes(T, dim);
  for (int32_t d = 0; d < dim; d++) {
    if (T == KV_F16) {
      o[d] = __builtin_fmaf(e, half_at(row + 2 * d), o[d]);
      continue;
    }
    const float w = e * half_at(kv_scales(T, v, dim, d / 32) + 2 * position);
    const uint8_t byte = row[T == KV_Q8_0 ? d : d / 32 * 16 + d % 16];
    const int32_t code = T == KV_Q8_0 ? (int8_t)byte : (d % 32 < 16 ? byte & 15 : byte >> 4) - 8;
    o[d] = __builtin_fmaf(w, (float)code, o[d]);
  }
}

template <KvType K, KvType V>
void piece_one(const AttnPiece* a, const Acts* q, int64_t row, int64_t head, const uint8_t* k, const uint8_t* v,
               int32_t k0, int32_t k1, float* m, float* l, float* o) {
  const int32_t dim = a->head_dim_k;
  float s[kPagePositions], p[32];
  for (int i = 0; i < 32; i++) p[i] = -__builtin_inff();
  for (int32_t j = k0; j < k1; j++) {
    const float dot = K == KV_F16 ? score_f16(q->f32 + row * q->f32_stride + head * dim, k, dim, j)
                                  : score_codes<K>(q->q + row * q->q_stride + head * dim,
                                                   q->d + row * q->d_stride + head * (dim / 32), k, dim, j);
    s[j] = dot * a->scale;
    if (a->softcap > 0.0f) s[j] = scalar_softcap(s[j], a->softcap);
    if (a->slopes) s[j] = __builtin_fmaf(-a->slopes[head], __builtin_fabsf((float)(a->at[row] - j)), s[j]);
    p[j % 32] = max_f32(s[j], p[j % 32]);
  }
  *m = tree_max(p);
  for (int i = 0; i < 32; i++) p[i] = 0.0f;
  for (int32_t j = k0; j < k1; j++) {
    s[j] = scalar_exp(s[j] - *m);
    p[j % 32] = p[j % 32] + s[j];
  }
  *l = tree_sum(p);
  for (int32_t d = 0; d < a->head_dim_v; d++) o[d] = 0.0f;
  for (int32_t j = k0; j < k1; j++) {
    if (v != nullptr) {
      add_value<V>(s[j], v, a->head_dim_v, j, o);
    } else {
      add_latent<K>(s[j], k, dim, a->head_dim_v, j, o);
    }
  }
}

template <KvType K, KvType V>
void attn_piece(const AttnPiece* a, const Acts* q, int32_t rows, int32_t heads, const void* k, const void* v,
                const int32_t* k0, const int32_t* k1, const void*, float* m, float* l, float* o, void*) {
  for (int32_t r = 0; r < rows; r++)
    for (int32_t h = 0; h < heads; h++) {
      const int64_t i = (int64_t)r * heads + h;
      piece_one<K, V>(a, q, r, h, (const uint8_t*)k, (const uint8_t*)v, k0[r], k1[r], m + i, l + i,
                      o + i * a->head_dim_v);
    }
}

template <KvType T>
void attn_scores(const Acts* q, int32_t heads, int32_t dim, const void* k, int32_t end, float* out, void*) {
  const uint8_t* keys = (const uint8_t*)k;
  for (int64_t h = 0; h < heads; h++)
    for (int32_t j = 0; j < end; j++)
      out[h * kPagePositions + j] = T == KV_F16 ? score_f16(q->f32 + h * dim, keys, dim, j)
                                                : score_codes<T>(q->q + h * dim, q->d + h * (dim / 32), keys, dim, j);
}

void attn_fold(const float* mp, const float* lp, const float* op, int32_t n, int32_t dim, float* m, float* l,
               float* o) {
  for (int32_t i = 0; i < n; i++, op += dim, o += dim) {
    const float top = max_f32(m[i], mp[i]), a = scalar_exp(m[i] - top), b = scalar_exp(mp[i] - top);
    l[i] = __builtin_fmaf(b, lp[i], l[i] * a);
    m[i] = top;
    for (int32_t d = 0; d < dim; d++) o[d] = __builtin_fmaf(b, op[d], o[d] * a);
  }
}

template <void (*encode)(const float*, uint8_t*, int32_t)>
void kv_store(const float* x, void* out, int32_t head_dim) {
  encode(x, (uint8_t*)out, head_dim);
}

template <KvType K>
void fill_pieces(AttnPieceFn* of_values) {
  of_values[KV_F16] = attn_piece<K, KV_F16>;
  of_values[KV_Q8_0] = attn_piece<K, KV_Q8_0>;
  of_values[KV_Q4_0] = attn_piece<K, KV_Q4_0>;
}

}  // namespace

void fill_scalar_attention(Kernels* k) {
  fill_pieces<KV_F16>(k->attn_piece[KV_F16]);
  fill_pieces<KV_Q8_0>(k->attn_piece[KV_Q8_0]);
  fill_pieces<KV_Q4_0>(k->attn_piece[KV_Q4_0]);
  k->attn_scores[KV_F16] = attn_scores<KV_F16>;
  k->attn_scores[KV_Q8_0] = attn_scores<KV_Q8_0>;
  k->attn_scores[KV_Q4_0] = attn_scores<KV_Q4_0>;
  k->attn_fold = attn_fold;
  k->kv_store[KV_F16] = kv_store<kv_encode_f16>;
  k->kv_store[KV_Q8_0] = kv_store<kv_encode_q8_0>;
  k->kv_store[KV_Q4_0] = kv_store<kv_encode_q4_0>;
}

}  // namespace hw
