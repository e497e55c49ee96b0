// The kernel table: everything that depends on an instruction set, and nothing else.
//
// One source per concern and per ISA fills its own slots (`fill_<isa>_<concern>`). dispatch.cc calls the fills from
// the lowest ISA to the best one the CPU has, so a kernel that an ISA does not specialise falls back to the next lower
// one and no slot is ever null.
//
// The canonical arithmetic (every ISA must give the SAME BITS as scalar, for every slot):
//   quantized dot   integer sums inside a block are exact in any order. Across blocks, in order, one row at a time:
//                     32-value blocks   acc = fma(d_w * d_a, (float)isum, acc)
//                     with minimum m    then acc = fma(m_w * d_a, (float)asum, acc)          (Q4_1, Q5_1)
//                     Q1_0, Q2_0        as blocks of 32 values with the same d_w
//                     NVFP4             as blocks of 16 values, two of them with the same d_a
//                     256-value blocks  isum = sum over groups of scale_g * dot_g, in int32
//                                       acc = fma(d_w * d_a, (float)isum, acc)
//                     with minimums     then acc = fma(-(dmin_w * d_a), (float)msum, acc), msum = sum m_g * asum_g
//                   `d_w * d_a` is one rounded float multiply. asum = sum of the int8 activations of the block.
//   units           layouts of several planes: 32 inputs at a time, see units.h
//   float dot       32 partial sums, partial[k % 32] = fma(w[k], x[k], partial[k % 32]), zero-padded to a multiple of
//                   32; then the fixed tree: p[i] += p[i+16] (i<16), p[i] += p[i+8], += p[i+4], += p[i+2], += p[i+1].
//   exp, tanh ...   one polynomial, evaluated with fma in one order, in all ISAs (kernels/float_math.h).
//   max              32 partials like the float dot, starting at -inf, `new > old ? new : old`: NaNs lose.
// So a token row gives the same bits alone or among others, on any thread count, in any tile.
// Of a NaN only its being NaN is part of the contract: sign and payload follow operand order.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "../boundary.h"

namespace hw {

// Activation rows in the form a weight type multiplies with. Strides are in elements of the plane they belong to.
// Planes are 64-byte aligned, strides of q a multiple of 64; bytes after `cols` up to the stride are zero.
//   ACTS_Q8_32   per 32 values: a = max|x|, d = float(f16(a / 127)), q = round_to_even((127 / a) * x);
//                all zero when d == 0
//   ACTS_Q8_256  per 256 values: m = the value of largest magnitude (first one wins), iscale = -127 / m,
//                q = min(127, round_to_even(iscale * x)), d = 1 / iscale; all zero when iscale is not finite
// Either way q is in [-127, 127], and a block that holds an infinity or a NaN gets d = NaN and q = 0.
struct Acts {
  ActKind kind;
  int32_t rows;
  int32_t cols;
  const float* f32;     // [rows][cols]                 always present (the unquantized rows)
  const int8_t* q;      // [rows][cols]                 Q8 kinds
  const float* d;       // [rows][cols / 32 or / 256]   Q8 kinds
  const int16_t* sums;  // [rows][cols / 16]            Q8 kinds: sums of q over 16 values
  int64_t f32_stride, q_stride, d_stride, sums_stride;
};

// out[t * out_stride + r] = dot(weight row r, activation row pick[t])   for r in [0, rows), t in [0, n)
// `w` is the first weight row, rows `row_bytes` apart, NOT aligned; never read past w + rows * row_bytes.
// pick == nullptr means pick[t] = t. `scratch` is kScratchBytes, 64-byte aligned, private to the thread.
typedef void (*MatmulFn)(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts,
                         const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch);

struct Layout;
struct UnitGrid;
// `scratch` as for MatmulFn.
typedef void (*UnitsFn)(const Layout& layout, const UnitGrid& grid, int64_t r0, int64_t r1, const Acts& acts,
                        const int32_t* pick, int32_t n, float* out, int64_t out_stride, void* scratch);
typedef void (*UnitValuesFn)(const Layout& layout, const UnitGrid& grid, int64_t row, int64_t c0, int64_t c1,
                             float* out);

// attn_piece keeps at least 16 decoded rows of kMaxHeadDim in its scratch. Attention is cut at multiples of
// kPagePositions.

// Attention of one (token row, query head) over the keys of ONE page, positions [k0, k1) of the page, 0 <= k0 < k1 <=
// 256. K and V of one head of a page lie as kv_page.h says. head_dim is in [1, kMaxHeadDim], for q8_0 and q4_0 a
// multiple of 32. Keys are read in groups up to the next multiple of 32 positions, values not past max(k1) - 1; what
// is read outside [k0, k1) may be anything. Result: m = max score, l = sum exp(score - m), o[d] = sum exp(score - m) *
// v[d], keys in ascending order for o. l is summed in 32 partials (key index in page % 32) and the fixed tree. Keys
// outside [k0, k1) do not exist.
//   score = dot(q, k) * scale, softcap > 0: softcap * tanh(score / softcap)
//   dot     f16: 4 partial sums, partial[d / n] = fma(k[d], q[d], partial[d / n]) from +0, n = head_dim / 4 rounded up,
//                then (partial[0] + partial[1]) + (partial[2] + partial[3])
//           q8_0, q4_0: "quantized dot" of the codes and the query as ACTS_Q8_32, scale of the key first
//   o[d]    f16: fma(e, v[d], o[d]), e = exp(score - m);  q8_0, q4_0: fma(e * scale of v's block, (float)code, o[d])
struct AttnPiece {
  int32_t head_dim_k, head_dim_v;
  float scale, softcap;
  // ALiBi: a score is fma(-slope of its head, |row's position - key's|, score) behind scale and softcap.
  const float* slopes = nullptr;  // [heads] of the call; null: none
  const int32_t* at = nullptr;    // [rows], counted from the page's first position
};

// A head's keys and values serve `heads` query heads (GQA) and `rows` token rows at once.
//   q      [rows][heads][head_dim_k]: the f32 plane for f16, the others for q8_0 and q4_0
//   k0/k1  [rows]
//   m, l   [rows][heads]; o [rows][heads][head_dim_v]
//   v      null: the values of a position are the first head_dim_v of its key (latent attention), of the same type
//   next   null, or what is read first in the call that follows: fetched ahead
typedef void (*AttnPieceFn)(const AttnPiece* p, const Acts* q, int32_t rows, int32_t heads, const void* k,
                            const void* v, const int32_t* k0, const int32_t* k1, const void* next, float* m, float* l,
                            float* o, void* scratch);

// Dots, unscaled, of one token row's heads and the keys [0, end) of a page: out [heads][kPagePositions]; what lies
// between `end` and the next multiple of 32 may be anything. q: [heads][head_dim_k], as for AttnPieceFn.
typedef void (*AttnScoresFn)(const Acts* q, int32_t heads, int32_t head_dim_k, const void* k, int32_t end, float* out,
                             void* scratch);

// One row of one head of a recurrence, `cols` of its values (src/ops/ops.ts, `recur`). Rows of `from` and `to`, which
// may be the same, are `stride` values apart.
struct RecurStep {
  const float* from;
  float* to;
  int64_t stride;
  int32_t keys, cols;
  const float *q, *k, *v;    // q null: nothing is read
  const float* decay;        // of key i: decay[i * decay_step]
  int32_t decay_step;
  float beta;
  bool correct;
  const float* skip;         // one factor, or null
  float* out;
};

struct Kernels {
  const char* isa;

  // --- matmul: concern "matmul" (scalar), then "matvec" and "gemm" per ISA
  MatmulFn matvec[DTYPE_SLOTS];  // best for n < gemm_min_rows; correct for any n
  MatmulFn gemm[DTYPE_SLOTS];    // best for n >= gemm_min_rows; correct for any n
  int32_t gemm_min_rows[DTYPE_SLOTS];
  // For packed rows (packed.h), any n, `w` at a multiple of 16 rows. Null: this table gains nothing from packing.
  MatmulFn packed[DTYPE_SLOTS];
  void (*dequantize[DTYPE_SLOTS])(const uint8_t* w, float* out, int64_t cols);  // one row, exact
  // Layouts of several planes: any n; and their values.
  UnitsFn units[UNIT_KINDS];
  UnitValuesFn unit_values[UNIT_KINDS];
  void (*quantize_q8_32)(const float* x, int8_t* q, float* d, int16_t* sums, int64_t cols);
  void (*quantize_q8_256)(const float* x, int8_t* q, float* d, int16_t* sums, int64_t cols);

  // --- float: concern "float"
  // out = x / sqrt(mean(x^2) + eps) * w; w may be null (ones); sum of squares as a float dot; out may alias x
  void (*rms_norm)(const float* x, const float* w, float* out, int32_t cols, float eps);
  // out = (x - mean) / sqrt(mean((x - mean)^2) + eps) * w + b, null for ones and zeros; both means by 32 partials and
  // the tree
  void (*layer_norm)(const float* x, const float* w, const float* b, float* out, int32_t cols, float eps);
  void (*add)(const float* x, float* y, int64_t n);               // y += x
  void (*scale)(float* x, float s, int64_t n);                    // x *= s
  void (*axpy)(const float* x, float s, float* y, int64_t n);     // y = fma(s, x, y)
  void (*softcap)(float* x, float c, int64_t n);                  // x = c * tanh(x / c)
  // out = act(gate) * up (GLU_OAI: g = min(gate, 7), u = clamp(up, -7, 7), out = g * sigmoid(1.702 g) * (u + 1))
  void (*glu[GLU_KINDS])(const float* gate, const float* up, float* out, int64_t n);
  // rotate one head in place: interleaved pairs (x[2i], x[2i+1]) or halves (x[i], x[i + dims/2]); cos/sin [dims / 2]
  void (*rope)(float* x, const float* cos, const float* sin, int32_t dims, int32_t interleaved);
  float (*max)(const float* x, int64_t n);
  // x[i] = exp(x[i] - max), returns the sum (32 partials and the fixed tree)
  float (*exp_sum)(float* x, float max, int64_t n);

  // --- attention: concern "attention"
  // By the type of the keys, then by that of the values.
  AttnPieceFn attn_piece[KV_TYPES][KV_TYPES];
  AttnScoresFn attn_scores[KV_TYPES];
  // Folds a piece of n queries into another, o [n][dim]: M = max(m, mp), a = exp(m - M), b = exp(mp - M),
  // l = fma(b, lp, l * a), o = fma(b, op, o * a), m = M
  void (*attn_fold)(const float* mp, const float* lp, const float* op, int32_t n, int32_t dim, float* m, float* l,
                    float* o);
  // One head row in the KV type, blocks one after the other as ggml has them; kv_page.h puts it into the page.
  void (*kv_store[KV_TYPES])(const float* x, void* out, int32_t head_dim);

  // --- recurrences: concern "float"
  void (*recur)(const RecurStep* step);
  // out = x[0] * w[0], then fma(w[i], x[i], out) for the other taps, then + bias (or null); w's rows are `stride` apart
  void (*conv)(const float* const* x, const float* w, int64_t stride, int32_t taps, const float* bias, float* out,
               int64_t n);
};

// The table of HUNDREDWEIGHT_ISA, or of the best ISA that passed its self-check against scalar. The choice is made once
// per process, at the first call.
const Kernels& kernels();
// Null, or why HUNDREDWEIGHT_ISA cannot be honoured (one line, names what is possible). kernels() is then scalar, and
// the caller must refuse to start.
const char* kernels_error();
// Null, or which ISA this CPU has was passed over because a slot differs from scalar, and which slot.
const char* kernels_note();
const Kernels* kernels_for(const char* isa);  // null when this CPU or build cannot run it
const char* const* isa_names(int* count);  // compiled ISAs of this platform, lowest first

const DtypeInfo* dtype_info(int32_t dtype);    // null for a type without kernels
const DtypeInfo* dtype_infos(int* count);      // all of them

// Null, or the name of the first slot in which `k` differs from `reference` on a small fixed input.
const char* self_check(const Kernels& k, const Kernels& reference);
const char* self_check_float(const Kernels& k, const Kernels& reference);  // its float and attention part

void fill_scalar_matmul(Kernels*);
void fill_scalar_units(Kernels*);
void fill_scalar_float(Kernels*);
void fill_scalar_attention(Kernels*);
#if defined(__x86_64__) || defined(_M_X64)
void fill_avx2_matvec_q32(Kernels*);
void fill_avx2_matvec_k(Kernels*);
void fill_avx2_matvec_grid(Kernels*);
void fill_avx2_matvec_float(Kernels*);
void fill_avx2_quantize(Kernels*);
void fill_avx2_units(Kernels*);
void fill_avx2_gemm(Kernels*);
void fill_avx2_gemm_float(Kernels*);
void fill_avx2_float(Kernels*);
void fill_avx2_attention(Kernels*);
void fill_avxvnni_gemm(Kernels*);
// AVX-512: F, BW, DQ, VL, VNNI and VBMI are needed.
void fill_avx512_matvec_q32(Kernels*);
void fill_avx512_matvec_k(Kernels*);
void fill_avx512_matvec_grid(Kernels*);
void fill_avx512_matvec_float(Kernels*);
void fill_avx512_units(Kernels*);
void fill_avx512_gemm(Kernels*);
void fill_avx512_gemm_float(Kernels*);
void fill_avx512_float(Kernels*);
void fill_avx512_attention(Kernels*);
#endif
#if defined(__aarch64__)
// Armv8.2 with dotprod and fp16.
void fill_neon_matvec_q32(Kernels*);
void fill_neon_matvec_k(Kernels*);
void fill_neon_matvec_grid(Kernels*);
void fill_neon_matvec_float(Kernels*);
void fill_neon_quantize(Kernels*);
void fill_neon_gemm(Kernels*);
void fill_neon_gemm_float(Kernels*);
void fill_neon_float(Kernels*);
void fill_neon_attention(Kernels*);
#endif

}  // namespace hw
