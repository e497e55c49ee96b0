// Attention and KV-store kernels: the scalar definition against double, every ISA against scalar bit for bit, and each
// (row, head) result alone against the same among others.
//   attention_test [SEED] [--whole]
#include <vector>

#include "kernel_harness.h"
#include "kernels/kv_page.h"
#include "kernels/queries.h"

namespace hw {
namespace {

const char* const kTypeNames[KV_TYPES] = {"f16", "q8_0", "q4_0"};

// Buffers that end at a page without access. `special` puts arbitrary halves (NaN, infinities, subnormals) into K, V;
// what lies behind the last position is arbitrary always.
struct Case {
  AttnPiece piece;
  KvType type, values;
  int32_t rows, heads, last;  // no key at `last` or later
  int64_t stride;
  int32_t k0[32], k1[32], at[32];
  float slopes[64];
  Guarded q, k, v;
  std::vector<uint8_t> k_rows, v_rows;  // what was placed in k and v, row after row

  Case(SampleRng& rng, KvType t, KvType tv, int32_t dk, int32_t dv, int32_t r, int32_t h, bool causal, bool special)
      : piece{dk, dv, 1.0f / sqrtf((float)dk), rng.below(3) == 0 ? 20.0f : 0.0f},
        type(t),
        values(tv),
        rows(r),
        heads(h),
        last(ranges(rng, causal)),
        stride((int64_t)h * dk + rng.below(3)),
        q((size_t)((r - 1) * stride + (int64_t)h * dk) * 4),
        k((size_t)kv_head_bytes(t, dk)),
        v((size_t)kv_head_bytes(tv, dv)) {
    for (size_t i = 0; i < q.bytes() / 4; i++)
      q.as<float>()[i] = sample_float(rng, special && rng.below(50) == 0 ? 3 : 0);
    fill(rng, k.as<uint8_t>(), k_rows, true, special);
    fill(rng, v.as<uint8_t>(), v_rows, false, special);
    if (rng.below(3) > 0) return;
    for (float& slope : slopes) slope = 0.25f + rng.uniform() / 8;
    for (int32_t& position : at) position = (int32_t)rng.below(700) - 200;
    piece.slopes = slopes;
    piece.at = at;
  }
  Case(const Case&) = delete;  // the piece points into it

  // Causal rows see one key more than the row before; otherwise anything, also disjoint.
  int32_t ranges(SampleRng& rng, bool causal) {
    int32_t end = 0;
    const int32_t first = (int32_t)rng.below(200), from = rng.below(2) ? 0 : (int32_t)rng.below((uint32_t)first + 1);
    for (int32_t i = 0; i < rows; i++) {
      k0[i] = causal ? from : (int32_t)rng.below(256);
      k1[i] = causal ? first + 1 + i : k0[i] + 1 + (int32_t)rng.below((uint32_t)(256 - k0[i]));
      if (rng.below(8) == 0) k0[i] = 0, k1[i] = 256;
      end = k1[i] > end ? k1[i] : end;
    }
    return end;
  }

  void fill(SampleRng& rng, uint8_t* head, std::vector<uint8_t>& rows, bool keys, bool special) {
    const int32_t dim = keys ? piece.head_dim_k : piece.head_dim_v;
    const KvType own = keys ? type : values;
    const int64_t bytes = kv_row_bytes(own, dim);
    const int block = own == KV_Q8_0 ? 34 : own == KV_Q4_0 ? 18 : 2;
    rows.resize((size_t)(kPagePositions * bytes));
    for (int32_t j = 0; j < kPagePositions; j++) {
      uint8_t* row = rows.data() + j * bytes;
      for (int64_t i = 0; i < bytes; i++) row[i] = (uint8_t)(rng.next() >> 32);
      for (int64_t i = 0; i < bytes && j < last; i += block) {
        if (special && rng.below(500) == 0) continue;  // whatever half the random bytes are
        const float scale = own == KV_Q8_0 ? 0.02f : own == KV_Q4_0 ? 0.3f : 2.0f;
        kv_put_u16(row + i, float_to_half(rng.uniform() * scale));
      }
      (keys ? kv_place_key : kv_place_value)(own, row, head, j, dim);
    }
  }

  // Query row r and those after it, from head h on, quantized by scalar where the keys are.
  Acts queries(const Kernels& scalar, int32_t r, int32_t h, int32_t n) {
    static Guarded memory(32 * (32 * kMaxHeadDim * 5 / 4 + 64) & ~(size_t)4095);
    const float* x = q.as<float>() + r * stride + (int64_t)h * piece.head_dim_k;
    const int32_t cols = (heads - h) * piece.head_dim_k;
    if (type == KV_F16) return Acts{ACTS_F32, n, cols, x, nullptr, nullptr, nullptr, stride, 0, 0, 0};
    return quantize_queries(scalar, x, stride, n, cols, memory.as<void>());
  }

  int64_t results() const { return (int64_t)rows * heads; }
};

struct Result {
  Guarded m, l, o;
  explicit Result(const Case& c)
      : m((size_t)c.results() * 4), l((size_t)c.results() * 4), o((size_t)(c.results() * c.piece.head_dim_v) * 4) {
    memset(m.as<void>(), 0xEE, m.bytes()), memset(l.as<void>(), 0xEE, l.bytes()), memset(o.as<void>(), 0xEE, o.bytes());
  }
  bool intact() const { return m.intact() && l.intact() && o.intact(); }
};

void* scratch() {
  static Guarded memory(kScratchBytes);  // a multiple of the page size: 64-byte aligned, and its end is guarded
  return memory.as<void>();
}

void run_piece(const Kernels& scalar, const Kernels& kernels, Case& c, Result& out) {
  // Stale scratch must not matter.
  memset(scratch(), 0xFF, kScratchBytes);
  const Acts q = c.queries(scalar, 0, 0, c.rows);
  const AttnPieceFn compute = kernels.attn_piece[c.type][c.values];
  compute(&c.piece, &q, c.rows, c.heads, c.k.as<void>(), c.v.as<void>(), c.k0, c.k1, nullptr,
                             out.m.as<float>(), out.l.as<float>(), out.o.as<float>(), scratch());
}

void same_bits(Report& r, const Isas& isas, Case& c) {
  Result want(c);
  run_piece(*isas.scalar, *isas.scalar, c, want);
  const int64_t n = c.results(), dv = c.piece.head_dim_v;
  char what[96];
  snprintf(what, sizeof what, "attn %s:%s dk=%d dv=%d rows=%d heads=%d last=%d", kTypeNames[c.type],
           kTypeNames[c.values], c.piece.head_dim_k, c.piece.head_dim_v, c.rows, c.heads, c.last);
  for (int i = 0; i < isas.count; i++) {
    const Kernels& k = *isas.others[i];
    Result got(c);
    run_piece(*isas.scalar, k, c, got);
    r.same(got.m.as<float>(), want.m.as<float>(), n, what, k.isa, n);
    r.same(got.l.as<float>(), want.l.as<float>(), n, what, k.isa, n);
    r.same(got.o.as<float>(), want.o.as<float>(), n * dv, what, k.isa, n);
    r.check(got.intact(), "%s %s wrote in front of a result", what, k.isa);
    // The last (row, head) alone.
    float m, l, *o = (float*)malloc((size_t)dv * 4);
    const int32_t row = c.rows - 1, head = c.heads - 1;
    const Acts q = c.queries(*isas.scalar, row, head, 1);
    AttnPiece piece = c.piece;
    if (piece.slopes) piece.slopes += head, piece.at += row;
    const AttnPieceFn compute = k.attn_piece[c.type][c.values];
    compute(&piece, &q, 1, 1, c.k.as<void>(), c.v.as<void>(), c.k0 + row, c.k1 + row, nullptr, &m, &l, o,
                         scratch());
    r.same(&m, want.m.as<float>() + n - 1, 1, what, "alone", 1);
    r.same(&l, want.l.as<float>() + n - 1, 1, what, "alone", 1);
    r.same(o, want.o.as<float>() + (n - 1) * dv, dv, what, "alone", 1);
    free(o);
  }
}

// Scalar against double, quantized queries as they are. A score is off by at most delta = (dk / 4 + 8) 2^-24 sum |q k|
// scale (4 chains, their sum, the product with scale; or an exact sum a block, its scale, a chain), plus 5 ULP of a
// capped score; a weight then by 2 delta relative, an fma chain adds one rounding per key.
void meaning(Report& r, const Kernels& scalar, Case& c) {
  Result got(c);
  run_piece(scalar, scalar, c, got);
  const int32_t dk = c.piece.head_dim_k, dv = c.piece.head_dim_v;
  auto decode = [](KvType type, const std::vector<uint8_t>& rows, int32_t j, float* to, int32_t dim) {
    (type == KV_F16 ? kv_decode_f16 : type == KV_Q8_0 ? kv_decode_q8_0 : kv_decode_q4_0)(
        rows.data() + j * kv_row_bytes(type, dim), to + (int64_t)j * dim, dim);
  };
  float *k = (float*)malloc((size_t)dk * c.last * 4), *v = (float*)malloc((size_t)dv * c.last * 4);
  for (int32_t j = 0; j < c.last; j++) {
    decode(c.type, c.k_rows, j, k, dk);
    decode(c.values, c.v_rows, j, v, dv);
  }
  for (int64_t i = 0; i < c.results(); i++) {
    const int32_t row = (int32_t)(i / c.heads), head = (int32_t)(i % c.heads), n = c.k1[row] - c.k0[row];
    const Acts acts = c.queries(scalar, row, head, 1);
    std::vector<float> q(acts.f32, acts.f32 + dk);
    for (int32_t d = 0; d < dk && c.type != KV_F16; d++) q[(size_t)d] = acts.d[d / 32] * (float)acts.q[d];
    double s[kPagePositions], delta = 0, top = -INFINITY, total = 0, fallen = 0;
    for (int32_t j = c.k0[row]; j < c.k1[row]; j++) {
      double dot = 0, size = 0;
      for (int32_t d = 0; d < dk; d++) {
        dot += (double)q[(size_t)d] * k[(int64_t)j * dk + d];
        size += fabs((double)q[(size_t)d] * k[(int64_t)j * dk + d]);
      }
      s[j] = dot * c.piece.scale;
      delta = fmax(delta, size * c.piece.scale * (dk / 4 + 8) * 0x1p-24);
      if (c.piece.softcap > 0) s[j] = c.piece.softcap * tanh(s[j] / c.piece.softcap);
      if (c.piece.slopes) s[j] -= (double)c.slopes[head] * abs(c.at[row] - j), fallen = fmax(fallen, fabs(s[j]));
      top = fmax(top, s[j]);
    }
    if (c.piece.softcap > 0) delta += 5 * c.piece.softcap * 0x1p-23;
    delta += fallen * 0x1p-24;
    r.check(fabs(got.m.as<float>()[i] - top) <= delta, "m of %s row %d head %d", kTypeNames[c.type], row, head);
    for (int32_t j = c.k0[row]; j < c.k1[row]; j++) total += s[j] = exp(s[j] - top);
    const double l_bound = total * (2 * delta + (n / 32 + 10) * 0x1p-23);
    r.check(fabs(got.l.as<float>()[i] - total) <= l_bound, "l of %s row %d head %d", kTypeNames[c.type], row, head);
    double worst = 0;
    for (int32_t d = 0; d < dv; d++) {
      double want = 0, size = 0;
      for (int32_t j = c.k0[row]; j < c.k1[row]; j++) {
        want += s[j] * v[(int64_t)j * dv + d];
        size += fabs(s[j] * v[(int64_t)j * dv + d]);
      }
      const double bound = size * (2 * delta + (n + 10) * 0x1p-23) + 1e-38;
      worst = fmax(worst, fabs(got.o.as<float>()[i * dv + d] - want) / bound);
    }
    r.check(worst <= 1, "o of %s row %d head %d dk=%d: %.2f of its bound", kTypeNames[c.type], row, head, dk, worst);
  }
  free(k), free(v);
}

// Half conversions over all 65536 halves and every boundary between two neighbours.
void halves(Report& r) {
  for (uint32_t h = 0; h < 65536; h++) {
    const int e = h >> 10 & 31, m = h & 1023;
    const double want = e == 31 ? (m ? NAN : INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    const float f = half_to_float((uint16_t)h);
    r.check(isnan(want) ? isnan(f) : f == (float)(h & 0x8000 ? -want : want), "half %04x decodes to %a", h, (double)f);
    if (isnan(want)) continue;
    r.check(float_to_half(f) == h, "half %04x comes back as %04x", h, float_to_half(f));
    if (e == 31 || (h & 0x7FFF) == 0x7BFF) continue;
    const float middle = (f + half_to_float((uint16_t)(h + 1))) / 2;  // exact
    r.check(float_to_half(middle) == h + (h & 1), "tie above %04x", h);
    const float up = bits_float(float_bits(middle) + 1), down = bits_float(float_bits(middle) - 1);
    r.check(float_to_half(up) == h + 1 && float_to_half(down) == h, "neighbours of the tie above %04x", h);
  }
  r.check(float_to_half(65519.9f) == 0x7BFF && float_to_half(65520.0f) == 0x7C00, "half overflow");
}

void stores(Report& r, SampleRng& rng, const Isas& isas, KvType type, int32_t dim, int temper) {
  Guarded x((size_t)dim * 4), a((size_t)kv_row_bytes(type, dim)), b((size_t)kv_row_bytes(type, dim));
  for (int32_t i = 0; i < dim; i++) x.as<float>()[i] = sample_float(rng, temper);
  isas.scalar->kv_store[type](x.as<float>(), a.as<void>(), dim);
  for (int i = 0; i < isas.count; i++) {
    isas.others[i]->kv_store[type](x.as<float>(), b.as<void>(), dim);
    bool same = true;
    for (size_t j = 0; j < a.bytes(); j++) same = same && a.as<uint8_t>()[j] == b.as<uint8_t>()[j];
    if (!same && type == KV_F16 && temper % 2 == 1) {  // NaN payloads are free
      same = true;
      for (int32_t j = 0; j < dim; j++) {
        const uint16_t p = a.as<uint16_t>()[j], q = b.as<uint16_t>()[j];
        same = same && (p == q || isnan(half_to_float(p)) == isnan(half_to_float(q)));
      }
    }
    r.check(same && b.intact(), "kv_store %s dim=%d temper %d differs on %s", kTypeNames[type], dim, temper,
            isas.others[i]->isa);
  }
  if (type == KV_F16 || temper != 0) return;
  // What was stored, read back: half a step off, plus the rounding of d to a half (2^-11 of up to 127 or 8 steps); in
  // q4_0 the end opposite to the largest value has no code and is a whole step off.
  float* back = (float*)malloc((size_t)dim * 4);
  (type == KV_Q8_0 ? kv_decode_q8_0 : kv_decode_q4_0)(a.as<uint8_t>(), back, dim);
  for (int32_t i = 0; i < dim; i++) {
    float top = 0;
    for (int32_t j = i & ~31; j < (i | 31) + 1; j++) top = fmaxf(top, fabsf(x.as<float>()[j]));
    const float step = top / (type == KV_Q8_0 ? 127.0f : 8.0f), error = fabsf(back[i] - x.as<float>()[i]);
    const bool end = type == KV_Q4_0 && fabsf(x.as<float>()[i]) > 7.4f * step;
    r.check(error <= step * (end ? 1.0f : 0.5f) + top * 0x1p-10f + 0x1p-22f, "%s [%d]: %g stored as %g",
            kTypeNames[type], i, (double)x.as<float>()[i], (double)back[i]);
  }
  free(back);
}

void folds(Report& r, SampleRng& rng, const Isas& isas, int32_t n, int32_t dim, int temper) {
  const size_t floats = (size_t)n * (2 + dim);
  Guarded piece(floats * 4), sums(floats * 4), got(floats * 4);
  for (size_t i = 0; i < floats; i++) {
    piece.as<float>()[i] = sample_float(rng, temper);
    sums.as<float>()[i] = sample_float(rng, temper);
  }
  std::vector<float> want(sums.as<float>(), sums.as<float>() + floats);
  const auto fold = [&](const Kernels& k, float* to) {
    const float* p = piece.as<float>();
    k.attn_fold(p, p + n, p + 2 * n, n, dim, to, to + n, to + 2 * n);
  };
  fold(*isas.scalar, want.data());
  for (int i = 0; i < isas.count; i++) {
    memcpy(got.as<void>(), sums.as<void>(), floats * 4);
    fold(*isas.others[i], got.as<float>());
    r.same(got.as<float>(), want.data(), (int64_t)floats, "attn_fold", isas.others[i]->isa, (int64_t)floats);
    r.check(got.intact(), "attn_fold %s wrote in front", isas.others[i]->isa);
  }
}

int run(int argc, char** argv) {
  Report r("attention_test", argv[0], Options(argc, argv));
  const Isas isas;
  SampleRng rng(r.seed);
  halves(r);
  const int32_t dims[] = {1,  2,  3,  5,  7,  8,   15,  16,  17,  31,  32,  33,
                          63, 64, 65, 80, 96, 127, 128, 129, 160, 192, 256, 257};
  const int32_t shapes[][2] = {{1, 1}, {1, 2}, {1, 3}, {1, 4}, {1, 7}, {1, 8}, {2, 1}, {3, 5}, {4, 3}, {8, 4}, {16, 6}};
  for (const int32_t n : {1, 3, 4, 8, 17, 64})
    for (int temper = 0; temper < kTempers; temper++) folds(r, rng, isas, n, dims[rng.below(24)], temper);
  for (int t = 0; t < KV_TYPES; t++) {
    for (const int32_t d : dims) {
      if (t != KV_F16 && d % 32 != 0) continue;
      for (int temper = 0; temper < kTempers; temper++) stores(r, rng, isas, (KvType)t, d, temper);
      for (int n = 0; n < (t == KV_F16 ? 4 : 10); n++) {
        const int32_t* s = shapes[rng.below(n == 0 ? 11 : 8)];
        const int32_t dv = rng.below(2) ? d : dims[rng.below(24)];
        const KvType values = (KvType)((t + n) % KV_TYPES);
        const int32_t fitting = values == KV_F16 ? dv : (dv + 31) / 32 * 32;
        Case c(rng, (KvType)t, values, d, fitting, s[0], s[1], rng.below(2) == 0, n / 2 % 2 == 1);
        same_bits(r, isas, c);
        if (n / 2 % 2 == 0 && n < 5) meaning(r, *isas.scalar, c);
      }
    }
    // More queries than one group holds, and the widest head.
    Case many(rng, (KvType)t, (KvType)t, 64, 64, 17, 5, true, false);
    Case wide(rng, (KvType)t, (KvType)t, kMaxHeadDim, kMaxHeadDim, 6, 4, false, false);
    same_bits(r, isas, many);
    same_bits(r, isas, wide);
  }
  Case odd(rng, KV_F16, KV_F16, kMaxHeadDim - 1, kMaxHeadDim - 1, 6, 4, true, false);
  same_bits(r, isas, odd);
  return r.finish();
}

}  // namespace
}  // namespace hw

int main(int argc, char** argv) { return hw::run(argc, argv); }
