// The float and attention half of the self-check: every slot once against scalar, on sizes with full vectors and tails.
#include <stdlib.h>
#include <string.h>

#include <initializer_list>

#include "kernels.h"
#include "kv_page.h"
#include "queries.h"
#include "sample.h"

namespace hw {
namespace {

constexpr int kN = 133, kRows = 3, kHeads = 3, kKeys = 53;  // odd on purpose: tails in every direction
constexpr int kBlockDim = 96;

struct Buffers {
  alignas(64) uint8_t scratch[kScratchBytes];
  float x[kN], up[kN], got[kN], want[kN];
  float q[kRows * kHeads * kN], result[2][kRows * kHeads * (kN + 2)];
  alignas(64) uint8_t k[kPagePositions * kN * 2], v[kPagePositions * kN * 2];
  alignas(64) uint8_t queries[kRows * (kHeads * kN * 2 + 64)];
  uint8_t row[2][kN * 2];
  alignas(64) float scores[2 * kHeads * kPagePositions];
};

// Runs `call(kernels, values)` for both tables on copies of x and compares all kN values.
template <class Call>
bool same(const Kernels& k, const Kernels& reference, Buffers& b, Call call) {
  memcpy(b.got, b.x, sizeof b.x);
  memcpy(b.want, b.x, sizeof b.x);
  call(k, b.got);
  call(reference, b.want);
  return memcmp(b.got, b.want, sizeof b.got) == 0;
}

const char* check_float(const Kernels& k, const Kernels& r, Buffers& b) {
  typedef const Kernels& K;
  const float* up = b.up;
  if (!same(k, r, b, [=](K f, float* x) { f.rms_norm(x, up, x, kN, 1e-5f); })) return "rms_norm";
  if (!same(k, r, b, [=](K f, float* x) { f.layer_norm(x, up, up, x, kN, 1e-5f); })) return "layer_norm";
  if (!same(k, r, b, [=](K f, float* x) { f.add(up, x, kN); })) return "add";
  if (!same(k, r, b, [=](K f, float* x) { f.scale(x, 0.3f, kN); })) return "scale";
  if (!same(k, r, b, [=](K f, float* x) { f.axpy(up, 0.3f, x, kN); })) return "axpy";
  if (!same(k, r, b, [=](K f, float* x) { f.softcap(x, 2.0f, kN); })) return "softcap";
  static const char* const glus[GLU_KINDS] = {"glu silu", "glu gelu-tanh", "glu oai"};
  for (int g = 0; g < GLU_KINDS; g++) {
    if (!same(k, r, b, [=](K f, float* x) { f.glu[g](x, up, x, kN); })) return glus[g];
  }
  for (int interleaved = 0; interleaved < 2; interleaved++) {
    if (!same(k, r, b, [=](K f, float* x) { f.rope(x, up, up + 66, 132, interleaved); })) return "rope";
  }
  if (!same(k, r, b, [=](K f, float* x) { x[0] = f.max(x, kN); })) return "max";
  if (!same(k, r, b, [=](K f, float* x) { x[0] = f.exp_sum(x, 3.0f, kN); })) return "exp_sum";
  return nullptr;
}

// Two rows of a head: corrected and not, a decay for all keys and one for each.
const char* check_recurrence(const Kernels& k, const Kernels& r, Buffers& b) {
  constexpr int kKeysOfHead = 5, kCols = 43;
  for (int kind = 0; kind < 4; kind++) {
    for (int t = 0; t < 2; t++) {
      float *state = b.result[t], *out = state + kKeysOfHead * kCols;
      memset(b.result[t], 0, sizeof b.result[t]);
      for (int row = 0; row < 2; row++, out += kCols) {
        const float* in = b.q + 160 * row;
        const RecurStep step = {state,   state,    kCols, kKeysOfHead, kCols,    in,
                                in + 8,  in + 16,  in + 64, kind & 1,  0.7f,     kind > 1,
                                kind == 2 ? in + 90 : nullptr, out};
        (t ? r : k).recur(&step);
      }
    }
    if (memcmp(b.result[0], b.result[1], sizeof b.result[0]) != 0) return "recur";
  }
  const float* const taps[3] = {b.x, b.up, b.q};
  k.conv(taps, b.q, kN, 3, b.up, b.got, kN);
  r.conv(taps, b.q, kN, 3, b.up, b.want, kN);
  return memcmp(b.got, b.want, sizeof b.got) != 0 ? "conv" : nullptr;
}

const char* check_attention(const Kernels& k, const Kernels& r, Buffers& b, KvType type, KvType values, int dim) {
  for (int j = 0; j < kKeys; j++) {
    for (const bool key : {true, false}) {
      b.x[j % dim] += 0.25f;
      const KvType own = key ? type : values;
      k.kv_store[own](b.x, b.row[0], dim);
      r.kv_store[own](b.x, b.row[1], dim);
      if (memcmp(b.row[0], b.row[1], (size_t)kv_row_bytes(own, dim)) != 0) return "kv_store";
      key ? kv_place_key(own, b.row[1], b.k, j, dim) : kv_place_value(own, b.row[1], b.v, j, dim);
    }
  }
  float slopes[kHeads];
  for (int h = 0; h < kHeads; h++) slopes[h] = 0.25f / (float)(h + 1);
  const int32_t at[kRows] = {kKeys - 5, kKeys - 2, 3};
  const AttnPiece piece = {dim, dim, 0.1f, 5.0f, slopes, at};
  const int32_t k0[kRows] = {0, 3, 17}, k1[kRows] = {kKeys - 4, kKeys - 1, kKeys};
  const int n = kRows * kHeads, latent = type == KV_F16 ? dim - 7 : dim - 32;
  // All rows at once (decoded rows), one row (packed ones).
  for (const int32_t rows : {kRows, 1}) {
    const int32_t cols = kHeads * dim;
    const Acts q = type == KV_F16 ? Acts{ACTS_F32, rows, cols, b.q, nullptr, nullptr, nullptr, cols, 0, 0, 0}
                                  : quantize_queries(r, b.q, cols, rows, cols, b.queries);
    for (int t = 0; t < 2; t++) {
      float* m = b.result[t];
      memset(m, 0, sizeof b.result[t]);
      (t ? r : k).attn_piece[type][values](&piece, &q, rows, kHeads, b.k, b.v, k0, k1, nullptr, m, m + n, m + 2 * n,
                                           b.scratch);
    }
    if (memcmp(b.result[0], b.result[1], sizeof b.result[0]) != 0) return "attn_piece";
    if (type != values) continue;  // what follows has no values, or none of a type
    const AttnPiece first = {dim, latent, 0.1f, 0.0f};
    for (int t = 0; t < 2; t++) {
      float* m = b.result[t];
      memset(m, 0, sizeof b.result[t]);
      (t ? r : k).attn_piece[type][type](&first, &q, rows, kHeads, b.k, nullptr, k0, k1, nullptr, m, m + n, m + 2 * n,
                                         b.scratch);
    }
    if (memcmp(b.result[0], b.result[1], sizeof b.result[0]) != 0) return "attn_piece latent";
    for (int t = 0; t < 2; t++) {
      float* m = b.result[t];
      (t ? r : k).attn_fold(b.up, b.x, b.q, n, dim, m, m + n, m + 2 * n);
    }
    if (memcmp(b.result[0], b.result[1], sizeof b.result[0]) != 0) return "attn_fold";
  }
  if (type != values) return nullptr;
  const Acts q = type == KV_F16 ? Acts{ACTS_F32, 1, kHeads * dim, b.q, nullptr, nullptr, nullptr, kHeads * dim, 0, 0, 0}
                                : quantize_queries(r, b.q, kHeads * dim, 1, kHeads * dim, b.queries);
  float* const scores[2] = {b.scores, b.scores + kHeads * kPagePositions};
  for (int t = 0; t < 2; t++) (t ? r : k).attn_scores[type](&q, kHeads, dim, b.k, kKeys, scores[t], b.scratch);
  for (int h = 0; h < kHeads; h++) {
    const int32_t at = h * kPagePositions;
    if (memcmp(scores[0] + at, scores[1] + at, kKeys * sizeof(float)) != 0) return "attn_scores";
  }
  return nullptr;
}

}  // namespace

const char* self_check_float(const Kernels& k, const Kernels& reference) {
  void* memory = malloc(sizeof(Buffers) + 64);
  if (!memory) return "out of memory";
  Buffers* b = reinterpret_cast<Buffers*>((reinterpret_cast<uintptr_t>(memory) + 63) & ~static_cast<uintptr_t>(63));
  SampleRng rng(3);
  for (int i = 0; i < kN; i++) b->x[i] = rng.uniform() * 3, b->up[i] = rng.uniform() * 3;
  for (float& q : b->q) q = rng.uniform() * 3;
  const char* slot = check_float(k, reference, *b);
  if (!slot) slot = check_recurrence(k, reference, *b);
  if (!slot) slot = check_attention(k, reference, *b, KV_F16, KV_F16, kN);
  for (int t = 0; t < KV_TYPES * KV_TYPES && !slot; t++)
    slot = check_attention(k, reference, *b, (KvType)(t / KV_TYPES), (KvType)(t % KV_TYPES), kBlockDim);
  free(memory);
  return slot;
}

}  // namespace hw
