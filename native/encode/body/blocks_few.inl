// One to four bits without a search: signs, whole multiples, and the two FP4 types. Importance changes nothing here.
namespace hw {
namespace {

inline int round_away(float v) {
  const float m = __builtin_fabsf(v);
  if (!(m < 4.0f)) return v < 0.0f ? -4 : 4;
  const int whole = static_cast<int>(m);
  const int rounded = whole + (m - static_cast<float>(whole) >= 0.5f ? 1 : 0);
  return v < 0.0f ? -rounded : rounded;
}

inline void encode_q1_0(const Batch& batch, uint8_t* out) {
  BlockQ1_0* block = (BlockQ1_0*)out;
  for (int b = 0; b < batch.count; b++) {
    float sum = 0.0f;
    for (int i = 0; i < 128; i++) sum += __builtin_fabsf(batch.x[b][i]);
    block[b].d = to_half(sum / 128.0f);
    for (int i = 0; i < 16; i++) {
      int bits = 0;
      for (int k = 0; k < 8; k++) bits |= (batch.x[b][8 * i + k] >= 0.0f ? 1 : 0) << k;
      block[b].qs[i] = static_cast<uint8_t>(bits);
    }
  }
}

// Multiples of the largest magnitude, plus 1.
inline uint16_t levels(const float* x, int n, uint8_t* codes) {
  const float d = largest_of(x, n);
  const float inverse = d > 0.0f ? 1.0f / d : 0.0f;
  for (int i = 0; i < n; i++) codes[i] = static_cast<uint8_t>(within(round_away(x[i] * inverse) + 1, 0, 3));
  return to_half(d);
}

inline void encode_q2_0(const Batch& batch, uint8_t* out) {
  BlockQ2_0* block = (BlockQ2_0*)out;
  for (int b = 0; b < batch.count; b++) {
    uint8_t codes[64];
    block[b].d = levels(batch.x[b], 64, codes);
    for (int i = 0; i < 16; i++) {
      const uint8_t* c = codes + 4 * i;
      block[b].qs[i] = static_cast<uint8_t>(c[0] | c[1] << 2 | c[2] << 4 | c[3] << 6);
    }
  }
}

inline void encode_tq2_0(const SuperBatch& batch, uint8_t* out) {
  BlockTQ2_0* block = (BlockTQ2_0*)out;
  for (int b = 0; b < batch.count; b++) {
    uint8_t codes[kSuper];
    block[b].d = levels(batch.x[b], kSuper, codes);
    pack_two_bits(codes, block[b].qs);
  }
}

// `digits` of base three, the first one the largest, as a fraction of 256, rounded up.
inline uint8_t fraction(const uint8_t* codes, int stride, int digits) {
  int number = 0;
  for (int k = 0; k < 5; k++) number = 3 * number + (k < digits ? codes[k * stride] : 0);
  return static_cast<uint8_t>(((number & 255) * 256 + 242) / 243);
}

inline void encode_tq1_0(const SuperBatch& batch, uint8_t* out) {
  BlockTQ1_0* block = (BlockTQ1_0*)out;
  for (int b = 0; b < batch.count; b++) {
    uint8_t codes[kSuper];
    block[b].d = levels(batch.x[b], kSuper, codes);
    for (int i = 0; i < 32; i++) block[b].qs[i] = fraction(codes + i, 32, 5);
    for (int i = 0; i < 16; i++) block[b].qs[32 + i] = fraction(codes + 160 + i, 16, 5);
    for (int i = 0; i < 4; i++) block[b].qh[i] = fraction(codes + 240 + i, 4, 4);
  }
}

// The first of the nearest FP4 values; `step` is that of the doubled ones.
inline uint8_t nearest_fp4(float v, float step) {
  int best = 0;
  float error = __builtin_fabsf(static_cast<float>(kValuesMXFP4[0]) * step - v);
  for (int k = 1; k < 16; k++) {
    const float tried = __builtin_fabsf(static_cast<float>(kValuesMXFP4[k]) * step - v);
    if (tried < error) error = tried, best = k;
  }
  return static_cast<uint8_t>(best);
}

// Sixteen at once.
HW_LANES I nearest_fp4(F v, float step) {
  I best = I{};
  F error = magnitude(0.0f * step - v);
  for (int k = 1; k < 16; k++) {
    const F tried = magnitude(static_cast<float>(kValuesMXFP4[k]) * step - v);
    best = tried < error ? I{} + k : best;
    error = tried < error ? tried : error;
  }
  return best;
}

inline void encode_mxfp4(const Batch& batch, uint8_t* out) {
  BlockMXFP4* block = (BlockMXFP4*)out;
  for (int b = 0; b < batch.count; b++) {
    const float largest = largest_of(batch.x[b], 32);
    const float power = largest > 0.0f ? __builtin_floorf(__builtin_log2f(largest)) - 2.0f + 127.0f : 0.0f;
    // Below 2^-125 the exponent would be negative: the least one is taken.
    block[b].e = static_cast<uint8_t>(power > 0.0f ? power : 0.0f);
    const float step = e8m0_half_to_float(block[b].e);
    const I low = nearest_fp4(load(batch.x[b]), step), high = nearest_fp4(load(batch.x[b] + 16), step);
    for (int k = 0; k < 16; k++) block[b].qs[k] = static_cast<uint8_t>(low[k] | high[k] << 4);
  }
}

// Unsigned E4M3; a half is rounded up, and from 256 on it is the largest one.
inline uint8_t to_ue4m3(float v) {
  if (!(v > 0.0f)) return 0;
  if (v > 448.0f) v = 448.0f;
  const uint32_t bits = float_bits(v);
  int exponent = static_cast<int>(bits >> 23 & 255) - 127 + 7;
  if (exponent <= 0) return static_cast<uint8_t>(least_of(7, static_cast<int>(v * 512.0f + 0.5f)));
  if (exponent >= 15) return 0x7e;
  int mantissa = static_cast<int>(bits >> 20 & 7) + static_cast<int>(bits >> 19 & 1);
  if (mantissa > 7) mantissa = 0, exponent++;
  return exponent >= 15 ? 0x7e : static_cast<uint8_t>(exponent << 3 | mantissa);
}

inline void encode_nvfp4(const Batch& batch, uint8_t* out) {
  BlockNVFP4* block = (BlockNVFP4*)out;
  for (int b = 0; b < batch.count; b++) {
    for (int s = 0; s < 4; s++) {
      const float* x = batch.x[b] + 16 * s;
      const uint8_t code = to_ue4m3(largest_of(x, 16) / 6.0f);
      block[b].d[s] = code;
      const I found = nearest_fp4(load(x), ue4m3_half_to_float(code));
      for (int k = 0; k < 8; k++) block[b].qs[8 * s + k] = static_cast<uint8_t>(found[k] | found[k + 8] << 4);
    }
  }
}

}  // namespace
}  // namespace hw
