// Blocks of 32 values with one scale, some with a smallest value: closed forms without importance, searches with it.
namespace hw {
namespace {

// Sixteen blocks of n values; those past the end repeat the last one and are not written.
struct Batch {
  int count;
  const float* x[kLanes];
  const float* w[kLanes];
  float sigma2[kLanes];  // the mean square of the row
};

inline void nibbles_of_32(const uint8_t* codes, uint8_t* out) {
  for (int l = 0; l < 16; l++) out[l] = static_cast<uint8_t>((codes[l] & 15) | (codes[l + 16] & 15) << 4);
}

inline void fifth_bits(const uint8_t* codes, uint8_t* out) {
  uint32_t bits = 0;
  for (int l = 0; l < 32; l++) bits |= static_cast<uint32_t>(codes[l] >> 4 & 1) << l;
  __builtin_memcpy(out, &bits, 4);
}

inline float extreme_of(const float* x, int n) {
  float largest = 0.0f, extreme = 0.0f;
  for (int i = 0; i < n; i++) {
    const float m = __builtin_fabsf(x[i]);
    if (largest < m) largest = m, extreme = x[i];
  }
  return extreme;
}

inline float largest_of(const float* x, int n) {
  F most = F{};
  for (int i = 0; i < n; i += kLanes) {
    const F m = magnitude(load(x + i));
    most = m > most ? m : most;
  }
  float found = 0.0f;
  for (int k = 0; k < kLanes; k++) found = most[k] > found ? most[k] : found;
  return found;
}

inline uint8_t truncated(float v, int most) {
  if (!(v > -128.0f)) v = -128.0f;
  if (v > 127.0f) v = 127.0f;
  return static_cast<uint8_t>(least_of(most, static_cast<int8_t>(v)));
}

inline void weighed_blocks(const Batch& batch, F* x, F* w) {
  side_by_side(batch.x, 32, x);
  F sigma2;
  __builtin_memcpy(&sigma2, batch.sigma2, sizeof sigma2);
  weigh(Weigh::importance, 32, x, batch.w, sigma2, w);
}

// nmax: 8 or 16; the codes of all blocks, [block][32], and their scales.
inline void signed_of_32(const Batch& batch, int nmax, uint8_t (*codes)[32], uint16_t* d) {
  if (batch.w[0] == nullptr) {
    for (int b = 0; b < batch.count; b++) {
      const float scale = extreme_of(batch.x[b], 32) / static_cast<float>(-nmax);
      const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
      d[b] = to_half(scale);
      for (int i = 0; i < 32; i++)
        codes[b][i] = truncated(batch.x[b][i] * inverse + (static_cast<float>(nmax) + 0.5f), 2 * nmax - 1);
    }
    return;
  }
  F x[32], w[32];
  weighed_blocks(batch, x, w);
  SignedScale found;
  search_signed_scale(32, nmax, x, w, &found);
  for (int b = 0; b < batch.count; b++) {
    d[b] = to_half(found.scale[b]);
    signed_codes(batch.x[b], 32, nmax, 0.0f, found.code_scale[b], codes[b]);
  }
}

inline void with_min_of_32(const Batch& batch, int nmax, uint8_t (*codes)[32], uint16_t* d, uint16_t* m) {
  if (batch.w[0] == nullptr) {
    for (int b = 0; b < batch.count; b++) {
      const float* x = batch.x[b];
      float min = x[0], max = x[0];
      for (int i = 1; i < 32; i++) {
        min = x[i] < min ? x[i] : min;
        max = x[i] > max ? x[i] : max;
      }
      const float scale = (max - min) / static_cast<float>(nmax);
      const float inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
      d[b] = to_half(scale);
      m[b] = to_half(min);
      for (int i = 0; i < 32; i++) {
        const float v = (x[i] - min) * inverse + 0.5f;
        codes[b][i] = truncated(v, nmax == 15 ? 15 : 127);
      }
    }
    return;
  }
  F x[32], w[32];
  weighed_blocks(batch, x, w);
  ScaleAndMin found;
  search_scale_and_min(32, nmax, x, w, {-0.9f, 0.05f, 36, false}, &found);
  for (int b = 0; b < batch.count; b++) {
    d[b] = to_half(found.scale[b]);
    m[b] = to_half(-found.min[b]);
    codes_with_min(batch.x[b], 32, nmax, 0.0f, 0.0f, found.code_scale[b], found.code_min[b], codes[b]);
  }
}

inline void encode_q4_0(const Batch& batch, uint8_t* out) {
  BlockQ4_0* block = (BlockQ4_0*)out;
  uint8_t codes[kLanes][32];
  uint16_t d[kLanes];
  signed_of_32(batch, 8, codes, d);
  for (int b = 0; b < batch.count; b++) {
    block[b].d = d[b];
    nibbles_of_32(codes[b], block[b].qs);
  }
}

inline void encode_q5_0(const Batch& batch, uint8_t* out) {
  BlockQ5_0* block = (BlockQ5_0*)out;
  uint8_t codes[kLanes][32];
  uint16_t d[kLanes];
  signed_of_32(batch, 16, codes, d);
  for (int b = 0; b < batch.count; b++) {
    block[b].d = d[b];
    nibbles_of_32(codes[b], block[b].qs);
    fifth_bits(codes[b], block[b].qh);
  }
}

inline void encode_q4_1(const Batch& batch, uint8_t* out) {
  BlockQ4_1* block = (BlockQ4_1*)out;
  uint8_t codes[kLanes][32];
  uint16_t d[kLanes], m[kLanes];
  with_min_of_32(batch, 15, codes, d, m);
  for (int b = 0; b < batch.count; b++) {
    block[b].d = d[b];
    block[b].m = m[b];
    nibbles_of_32(codes[b], block[b].qs);
  }
}

inline void encode_q5_1(const Batch& batch, uint8_t* out) {
  BlockQ5_1* block = (BlockQ5_1*)out;
  uint8_t codes[kLanes][32];
  uint16_t d[kLanes], m[kLanes];
  with_min_of_32(batch, 31, codes, d, m);
  for (int b = 0; b < batch.count; b++) {
    block[b].d = d[b];
    block[b].m = m[b];
    nibbles_of_32(codes[b], block[b].qs);
    fifth_bits(codes[b], block[b].qh);
  }
}

inline void encode_q8_0(const Batch& batch, uint8_t* out) {
  BlockQ8_0* block = (BlockQ8_0*)out;
  for (int b = 0; b < batch.count; b++) {
    const float d = largest_of(batch.x[b], 32) / 127.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    block[b].d = to_half(d);
    for (int i = 0; i < 32; i += kLanes) {
      // To the nearest whole number, halves away from zero.
      const F v = load(batch.x[b] + i) * inverse;
      const F m = magnitude(v) < 127.0f ? magnitude(v) : spread(127.0f);
      I code = __builtin_convertvector(m, I);
      code -= (m - to_float(code)) >= 0.5f;
      code = v < 0.0f ? -code : code;
      for (int k = 0; k < kLanes; k++) block[b].qs[i + k] = static_cast<int8_t>(code[k]);
    }
  }
}

// Which of the sixteen uneven values is nearest, and the value. `middle`: halfway between neighbours, which belongs to
// the larger one.
inline void nearest_uneven(F v, I* index, F* value) {
  I found = I{};
  F q = spread(-127.0f);
  HW_UNROLL
  for (int k = 0; k < 15; k++) {
    const float middle = static_cast<float>(kValuesIQ4NL[k] + kValuesIQ4NL[k + 1]) * 0.5f;
    const float gap = static_cast<float>(kValuesIQ4NL[k + 1] - kValuesIQ4NL[k]);
    const I above = v >= middle;
    found -= above;
    q += above ? spread(gap) : F{};
  }
  *index = found;
  *value = q;
}

// The scale of sixteen blocks of 32 side by side.
inline F search_uneven_scale(const F* x, const F* w) {
  F largest = F{}, extreme = F{};
  for (int i = 0; i < 32; i++) {
    const F m = magnitude(x[i]);
    extreme = m > largest ? x[i] : extreme;
    largest = m > largest ? m : largest;
  }
  const I live = largest >= kNothing;
  F scale = F{}, best = F{};
  for (int k = -8; k <= 7; k++) {
    const bool first = k == -8;
    const F inverse = first ? 1.0f / (-extreme / -127.0f) : spread(static_cast<float>(k - 127)) / extreme;
    F sum_qx = F{}, sum_q2 = F{};
    for (int i = 0; i < 32; i++) {
      I index;
      F q;
      nearest_uneven(inverse * x[i], &index, &q);
      const F wq = w[i] * q;
      sum_qx += wq * x[i];
      sum_q2 += wq * q;
    }
    const F fitted = sum_q2 > 0.0f ? sum_qx / sum_q2 : F{};
    const I better = first ? live : live & (sum_q2 > 0.0f) & (sum_qx * sum_qx > best * sum_q2);
    scale = better ? fitted : scale;
    best = better ? scale * sum_qx : best;
  }
  return scale;
}

inline void uneven_codes(const float* x, float inverse, uint8_t* codes) {
  for (int i = 0; i < 32; i += kLanes) {
    I index;
    F q;
    nearest_uneven(inverse * load(x + i), &index, &q);
    for (int k = 0; k < kLanes; k++) codes[i + k] = static_cast<uint8_t>(index[k]);
  }
}

inline void encode_iq4_nl(const Batch& batch, uint8_t* out) {
  F x[32], w[32];
  side_by_side(batch.x, 32, x);
  const bool weighed = batch.w[0] != nullptr;
  F sigma2 = F{};
  for (int i = 0; i < 32; i++) sigma2 += x[i] * x[i];
  sigma2 *= 2.0f / 32.0f;
  weigh(weighed ? Weigh::importance : Weigh::square, 32, x, batch.w, sigma2, w);
  const F scale = search_uneven_scale(x, w);
  BlockIQ4_NL* block = (BlockIQ4_NL*)out;
  for (int b = 0; b < batch.count; b++) {
    uint8_t codes[32];
    block[b].d = to_half(scale[b]);
    uneven_codes(batch.x[b], scale[b] != 0.0f ? 1.0f / scale[b] : 0.0f, codes);
    nibbles_of_32(codes, block[b].qs);
  }
}

inline void encode_iq4_xs(const SuperBatch& batch, uint8_t* out) {
  alignas(64) float scales[8][kLanes];
  const bool weighed = batch.w[0] != nullptr;
  for_sub_blocks(batch, 32, weighed ? Weigh::importance : Weigh::square, 2.0f,
                 [&](const F* x, const F* w, const int* super, const int* sub) {
                   const F scale = search_uneven_scale(x, w);
                   for (int b = 0; b < kLanes; b++) scales[sub[b]][super[b]] = scale[b];
                 });
  BlockIQ4_XS* block = (BlockIQ4_XS*)out;
  for (int b = 0; b < batch.count; b++) {
    float largest = 0.0f, extreme = 0.0f;
    for (int j = 0; j < 8; j++) {
      const float m = __builtin_fabsf(scales[j][b]);
      if (m > largest) largest = m, extreme = scales[j][b];
    }
    const float d = -extreme / 32.0f, inverse = d != 0.0f ? 1.0f / d : 0.0f;
    uint8_t codes[kSuper];
    int high = 0, low[8];
    for (int j = 0; j < 8; j++) {
      const int s = within(nearest_one(inverse * scales[j][b]), -32, 31);
      const float step = d * static_cast<float>(s);
      uneven_codes(batch.x[b] + 32 * j, step != 0.0f ? 1.0f / step : 0.0f, codes + 32 * j);
      low[j] = (s + 32) & 15;
      high |= (s + 32) >> 4 << (2 * j);
    }
    block[b].d = to_half(d);
    block[b].scales_h = static_cast<uint16_t>(high);
    for (int j = 0; j < 4; j++) block[b].scales_l[j] = static_cast<uint8_t>(low[2 * j] | low[2 * j + 1] << 4);
    for (int j = 0; j < 8; j++) nibbles_of_32(codes + 32 * j, block[b].qs + 16 * j);
  }
}

}  // namespace
}  // namespace hw
