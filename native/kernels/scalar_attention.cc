// Attention over one page in plain loops, one (token row, query head) at a time: the definition of the bits.
#include "kernels.h"
#include "kv_rows.h"

namespace hw {
namespace {

typedef void (*DecodeFn)(const uint8_t* row, float* out, int32_t head_dim);

// Decodes and multiplies 32 values at a time, so any head_dim works without a row buffer (quantized rows are whole
// blocks of 32 by contract).
template <KvType T, DecodeFn decode>
float score(const float* q, const uint8_t* k, int32_t head_dim) {
  float p[32] = {0}, w[32];
  for (int32_t c = 0; c < head_dim; c += 32) {
    const int32_t n = head_dim - c < 32 ? head_dim - c : 32;
    decode(k + kv_row_bytes(T, c), w, n);
    for (int32_t i = 0; i < 32; i++) p[i] = i < n ? __builtin_fmaf(w[i], q[c + i], p[i]) : p[i] + 0.0f;
  }
  return tree_sum(p);
}

template <KvType T, DecodeFn decode>
void piece_one(const AttnPiece* a, const float* q, const uint8_t* k, const uint8_t* v, int32_t k0, int32_t k1,
               float* m, float* l, float* o) {
  const int64_t kb = kv_row_bytes(T, a->head_dim_k), vb = kv_row_bytes(T, a->head_dim_v);
  float s[kPagePositions], p[32], w[32];
  for (int i = 0; i < 32; i++) p[i] = -__builtin_inff();
  for (int32_t j = k0; j < k1; j++) {
    s[j] = score<T, decode>(q, k + j * kb, a->head_dim_k) * a->scale;
    if (a->softcap > 0.0f) s[j] = scalar_softcap(s[j], a->softcap);
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
  for (int32_t j = k0; j < k1; j++)
    for (int32_t c = 0; c < a->head_dim_v; c += 32) {
      const int32_t n = a->head_dim_v - c < 32 ? a->head_dim_v - c : 32;
      decode(v + j * vb + kv_row_bytes(T, c), w, n);
      for (int32_t i = 0; i < n; i++) o[c + i] = __builtin_fmaf(s[j], w[i], o[c + i]);
    }
}

template <KvType T, DecodeFn decode>
void attn_piece(const AttnPiece* a, const float* q, int64_t q_row_stride, int32_t rows, int32_t heads, const void* k,
                const void* v, const int32_t* k0, const int32_t* k1, float* m, float* l, float* o, void*) {
  for (int32_t r = 0; r < rows; r++)
    for (int32_t h = 0; h < heads; h++) {
      const int64_t i = (int64_t)r * heads + h;
      piece_one<T, decode>(a, q + r * q_row_stride + (int64_t)h * a->head_dim_k, (const uint8_t*)k, (const uint8_t*)v,
                           k0[r], k1[r], m + i, l + i, o + i * a->head_dim_v);
    }
}

template <void (*encode)(const float*, uint8_t*, int32_t)>
void kv_store(const float* x, void* out, int32_t head_dim) {
  encode(x, (uint8_t*)out, head_dim);
}

}  // namespace

void fill_scalar_attention(Kernels* k) {
  k->attn_piece[KV_F16] = attn_piece<KV_F16, kv_decode_f16>;
  k->attn_piece[KV_Q8_0] = attn_piece<KV_Q8_0, kv_decode_q8_0>;
  k->attn_piece[KV_Q4_0] = attn_piece<KV_Q4_0, kv_decode_q4_0>;
  k->kv_store[KV_F16] = kv_store<kv_encode_f16>;
  k->kv_store[KV_Q8_0] = kv_store<kv_encode_q8_0>;
  k->kv_store[KV_Q4_0] = kv_store<kv_encode_q4_0>;
}

}  // namespace hw
