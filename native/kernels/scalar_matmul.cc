// The matmul kernels in plain loops: the reference every ISA must equal bit for bit, and what a CPU without any of
// them runs. Plain loops are compiled without vectorisation so that what is read here is what is executed.
#include <math.h>
#include <string.h>

#include "kernels.h"
#include "scalar_unpack.h"
#include "scalar_unpack_grid.h"

namespace hw {
namespace {

inline bool finite(float x) { return (float_bits(x) & 0x7f800000) != 0x7f800000; }

template <class Block>
Block load(const uint8_t* w, int64_t i) {
  Block b;
  memcpy(&b, w + i * static_cast<int64_t>(sizeof(Block)), sizeof(Block));
  return b;
}

// --- dot products of one weight row and activation row t

template <class Block, bool kMin>
struct Dot32 {
  static float run(const uint8_t* w, int32_t cols, const Acts& a, int32_t t) {
    const int8_t* x = a.q + t * a.q_stride;
    const float* d = a.d + t * a.d_stride;
    const int16_t* sums = a.sums + t * a.sums_stride;
    float acc = 0;
    Unpacked32 u;
    for (int32_t b = 0; b < cols / 32; b++) {
      unpack(load<Block>(w, b), u);
      int32_t isum = 0;
      for (int i = 0; i < 32; i++) isum += u.q[i] * x[b * 32 + i];
      acc = fmaf(u.d * d[b], static_cast<float>(isum), acc);
      if (kMin) acc = fmaf(u.m * d[b], static_cast<float>(sums[2 * b] + sums[2 * b + 1]), acc);
    }
    return acc;
  }
};

// Blocks of kParts * 32 values. Two scales: one for every 16 values.
template <class Block, int kParts, bool kTwoScales>
struct DotParts {
  static float run(const uint8_t* w, int32_t cols, const Acts& a, int32_t t) {
    const int8_t* x = a.q + t * a.q_stride;
    const float* d = a.d + t * a.d_stride;
    float acc = 0;
    Unpacked32 u;
    for (int32_t b = 0; b < cols / 32; b++) {
      unpack_part(load<Block>(w, b / kParts), b % kParts, u);
      int32_t isum[2] = {0, 0};
      for (int i = 0; i < 32; i++) isum[kTwoScales ? i / 16 : 0] += u.q[i] * x[b * 32 + i];
      acc = fmaf(u.d * d[b], static_cast<float>(isum[0]), acc);
      if (kTwoScales) acc = fmaf(u.m * d[b], static_cast<float>(isum[1]), acc);
    }
    return acc;
  }
};

template <class Block, bool kMin>
struct Dot256 {
  static float run(const uint8_t* w, int32_t cols, const Acts& a, int32_t t) {
    const int8_t* x = a.q + t * a.q_stride;
    const float* d = a.d + t * a.d_stride;
    const int16_t* sums = a.sums + t * a.sums_stride;
    float acc = 0;
    Unpacked256 u;
    for (int32_t b = 0; b < cols / 256; b++) {
      unpack(load<Block>(w, b), u);
      int32_t isum = 0, msum = 0;
      for (int g = 0; g < 16; g++) {
        int32_t dot = 0;
        for (int i = 0; i < 16; i++) dot += u.q[16 * g + i] * x[b * 256 + 16 * g + i];
        isum += u.scale[g] * dot;
        if (kMin) msum += u.min[g] * sums[16 * b + g];
      }
      acc = fmaf(u.d * d[b], static_cast<float>(isum), acc);
      if (kMin) acc = fmaf(-(u.dmin * d[b]), static_cast<float>(msum), acc);
    }
    return acc;
  }
};

struct LoadF32 {
  static float at(const uint8_t* w, int64_t i) { return load<float>(w, i); }
};
struct LoadF16 {
  static float at(const uint8_t* w, int64_t i) { return half_to_float(load<uint16_t>(w, i)); }
};
struct LoadBF16 {
  static float at(const uint8_t* w, int64_t i) { return bf16_to_float(load<uint16_t>(w, i)); }
};

template <class Load>
struct DotFloat {
  static float run(const uint8_t* w, int32_t cols, const Acts& a, int32_t t) {
    const float* x = a.f32 + t * a.f32_stride;
    float p[32] = {};
    for (int32_t i = 0; i < cols; i++) p[i % 32] = fmaf(Load::at(w, i), x[i], p[i % 32]);
    // The zero padding is not a no-op: fma(0, 0, -0) is +0.
    for (int32_t i = cols; i % 32 != 0; i++) p[i % 32] = fmaf(0, 0, p[i % 32]);
    for (int half = 16; half > 0; half /= 2) {
      for (int i = 0; i < half; i++) p[i] += p[i + half];
    }
    return p[0];
  }
};

template <class Dot>
void matmul(const uint8_t* w, int64_t row_bytes, int32_t rows, int32_t cols, const Acts* acts, const int32_t* pick,
            int32_t n, float* out, int64_t out_stride, void*) {
  for (int32_t r = 0; r < rows; r++) {
    for (int32_t t = 0; t < n; t++) {
      out[t * out_stride + r] = Dot::run(w + r * row_bytes, cols, *acts, pick ? pick[t] : t);
    }
  }
}

// --- dequantization of one row: the products as the format defines them, each rounded, nothing fused

template <class Block, bool kMin>
void dequantize32(const uint8_t* w, float* out, int64_t cols) {
  Unpacked32 u;
  for (int64_t b = 0; b < cols / 32; b++) {
    unpack(load<Block>(w, b), u);
    for (int i = 0; i < 32; i++) {
      const float v = u.d * static_cast<float>(u.q[i]);
      out[b * 32 + i] = kMin ? v + u.m : v;
    }
  }
}

template <class Block, int kParts, bool kTwoScales>
void dequantize_parts(const uint8_t* w, float* out, int64_t cols) {
  Unpacked32 u;
  for (int64_t b = 0; b < cols / 32; b++) {
    unpack_part(load<Block>(w, b / kParts), static_cast<int>(b % kParts), u);
    for (int i = 0; i < 32; i++) out[b * 32 + i] = (kTwoScales && i >= 16 ? u.m : u.d) * static_cast<float>(u.q[i]);
  }
}

template <class Block, bool kMin>
void dequantize256(const uint8_t* w, float* out, int64_t cols) {
  Unpacked256 u;
  for (int64_t b = 0; b < cols / 256; b++) {
    unpack(load<Block>(w, b), u);
    for (int e = 0; e < 256; e++) {
      const float v = u.d * static_cast<float>(u.scale[e / 16]) * static_cast<float>(u.q[e]);
      out[b * 256 + e] = kMin ? v - u.dmin * static_cast<float>(u.min[e / 16]) : v;
    }
  }
}

template <class Load>
void dequantize_float(const uint8_t* w, float* out, int64_t cols) {
  for (int64_t i = 0; i < cols; i++) out[i] = Load::at(w, i);
}

void dequantize_f32(const uint8_t* w, float* out, int64_t cols) {
  memcpy(out, w, static_cast<size_t>(cols) * sizeof(float));  // bits, so that signalling NaNs survive
}

// --- activations

void zero_block(int8_t* q, int16_t* sums, int values) {
  memset(q, 0, static_cast<size_t>(values));
  memset(sums, 0, static_cast<size_t>(values / 16) * sizeof(int16_t));
}

void quantize_block(const float* x, float iscale, int8_t* q, int16_t* sums, int values) {
  for (int g = 0; g < values / 16; g++) {
    int sum = 0;
    for (int i = 16 * g; i < 16 * g + 16; i++) {
      int v = static_cast<int>(nearbyintf(iscale * x[i]));
      if (v > 127) v = 127;
      q[i] = static_cast<int8_t>(v);
      sum += v;
    }
    sums[g] = static_cast<int16_t>(sum);
  }
}

bool all_finite(const float* x, int values) {
  for (int i = 0; i < values; i++) {
    if (!finite(x[i])) return false;
  }
  return true;
}

void quantize_q8_32(const float* x, int8_t* q, float* d, int16_t* sums, int64_t cols) {
  for (int64_t b = 0; b < cols / 32; b++, x += 32, q += 32, sums += 2) {
    float largest = 0;
    for (int i = 0; i < 32; i++) largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    d[b] = all_finite(x, 32) ? half_to_float(float_to_half(largest / 127.0f)) : NAN;
    if (d[b] > 0) {
      quantize_block(x, 127.0f / largest, q, sums, 32);
    } else {
      zero_block(q, sums, 32);
    }
  }
}

void quantize_q8_256(const float* x, int8_t* q, float* d, int16_t* sums, int64_t cols) {
  for (int64_t b = 0; b < cols / 256; b++, x += 256, q += 256, sums += 16) {
    float largest = 0;
    for (int i = 0; i < 256; i++) largest = fabsf(x[i]) > fabsf(largest) ? x[i] : largest;
    const float iscale = -127.0f / largest;
    if (!all_finite(x, 256)) {
      d[b] = NAN;
      zero_block(q, sums, 256);
    } else if (!finite(iscale)) {
      d[b] = 0;
      zero_block(q, sums, 256);
    } else {
      d[b] = 1.0f / iscale;
      quantize_block(x, iscale, q, sums, 256);
    }
  }
}

void set(Kernels* k, Dtype dtype, MatmulFn fn, void (*dequantize)(const uint8_t*, float*, int64_t)) {
  k->matvec[dtype] = fn;
  k->gemm[dtype] = fn;
  k->gemm_min_rows[dtype] = 1 << 30;  // until an ISA brings a kernel of its own, one slot is as good as the other
  k->dequantize[dtype] = dequantize;
}

template <class Block, bool kMin>
void set32(Kernels* k, Dtype dtype) {
  set(k, dtype, matmul<Dot32<Block, kMin>>, dequantize32<Block, kMin>);
}

template <class Block, int kParts, bool kTwoScales = false>
void set_parts(Kernels* k, Dtype dtype) {
  set(k, dtype, matmul<DotParts<Block, kParts, kTwoScales>>, dequantize_parts<Block, kParts, kTwoScales>);
}

template <class Block, bool kMin>
void set256(Kernels* k, Dtype dtype) {
  set(k, dtype, matmul<Dot256<Block, kMin>>, dequantize256<Block, kMin>);
}

}  // namespace

void fill_scalar_matmul(Kernels* k) {
  set(k, F32, matmul<DotFloat<LoadF32>>, dequantize_f32);
  set(k, F16, matmul<DotFloat<LoadF16>>, dequantize_float<LoadF16>);
  set(k, BF16, matmul<DotFloat<LoadBF16>>, dequantize_float<LoadBF16>);
  set32<BlockQ4_0, false>(k, Q4_0);
  set32<BlockQ4_1, true>(k, Q4_1);
  set32<BlockQ5_0, false>(k, Q5_0);
  set32<BlockQ5_1, true>(k, Q5_1);
  set32<BlockQ8_0, false>(k, Q8_0);
  set32<BlockIQ4_NL, false>(k, IQ4_NL);
  set32<BlockMXFP4, false>(k, MXFP4);
  set256<BlockQ2_K, true>(k, Q2_K);
  set256<BlockQ3_K, false>(k, Q3_K);
  set256<BlockQ4_K, true>(k, Q4_K);
  set256<BlockQ5_K, true>(k, Q5_K);
  set256<BlockQ6_K, false>(k, Q6_K);
  set256<BlockIQ4_XS, false>(k, IQ4_XS);
  set256<BlockIQ2_XXS, false>(k, IQ2_XXS);
  set256<BlockIQ2_XS, false>(k, IQ2_XS);
  set256<BlockIQ2_S, false>(k, IQ2_S);
  set256<BlockIQ3_XXS, false>(k, IQ3_XXS);
  set256<BlockIQ3_S, false>(k, IQ3_S);
  set256<BlockIQ1_S, false>(k, IQ1_S);
  set256<BlockIQ1_M, false>(k, IQ1_M);
  set256<BlockTQ1_0, false>(k, TQ1_0);
  set256<BlockTQ2_0, false>(k, TQ2_0);
  set_parts<BlockNVFP4, 2, true>(k, NVFP4);
  set_parts<BlockQ1_0, 4>(k, Q1_0);
  set_parts<BlockQ2_0, 2>(k, Q2_0);
  k->quantize_q8_32 = quantize_q8_32;
  k->quantize_q8_256 = quantize_q8_256;
}

}  // namespace hw
