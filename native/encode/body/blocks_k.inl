// Super-blocks of 256 values: scales of 16 or 32 values each, and scales of those. Sixteen super-blocks at a time.
namespace hw {
namespace {

constexpr int kSuper = 256;

// What sixteen super-blocks are made from. Those past the end repeat the last one and are not written.
struct SuperBatch {
  int count;
  const float* x[kLanes];
  const float* w[kLanes];  // importance of the columns; null for all or none
};

// Sums of squares, each added up value by value.
inline void sums_of_squares(const SuperBatch& batch, float* sums) {
  for (int b = 0; b < kLanes; b += 8) {
    float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < kSuper; i++) {
      for (int k = 0; k < 8; k++) sum[k] += batch.x[b + k][i] * batch.x[b + k][i];
    }
    for (int k = 0; k < 8; k++) sums[b + k] = sum[k];
  }
}

enum class Weigh { importance, importance_alone, magnitude, square, mean_and_magnitude };

// Weights of `n` values beginning at `from` of sixteen blocks side by side. `spread2` is what the square of a value is
// widened by, of each lane.
inline void weigh(Weigh how, int n, const F* x, const float* const* importance, F spread2, F* w) {
  if (how == Weigh::importance || how == Weigh::importance_alone) side_by_side(importance, n, w);
  if (how == Weigh::importance) {
    for (int i = 0; i < n; i++) {
      F root = spread2 + x[i] * x[i];
      for (int b = 0; b < kLanes; b++) root[b] = __builtin_sqrtf(root[b]);
      w[i] = w[i] * root;
    }
  } else if (how == Weigh::magnitude) {
    for (int i = 0; i < n; i++) w[i] = magnitude(x[i]);
  } else if (how == Weigh::square) {
    for (int i = 0; i < n; i++) w[i] = x[i] * x[i];
  } else if (how == Weigh::mean_and_magnitude) {
    F sum = F{};
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    F mean = sum / static_cast<float>(n);
    for (int b = 0; b < kLanes; b++) mean[b] = __builtin_sqrtf(mean[b]);
    for (int i = 0; i < n; i++) w[i] = mean + magnitude(x[i]);
  }
}

// The scales of all sub-blocks of a batch, [sub-block][super-block].
struct SubScales {
  alignas(64) float scale[16][kLanes], min[16][kLanes], weight[16][kLanes];
  alignas(64) float code_scale[16][kLanes], code_min[16][kLanes];
};

inline F total(int n, const F* w) {
  F sum = F{};
  for (int i = 0; i < n; i++) sum += w[i];
  return sum;
}

// Calls body(x, w, lanes) for each sixteen sub-blocks of n values; lanes[b] = {super-block, sub-block}.
template <typename Body>
inline void for_sub_blocks(const SuperBatch& batch, int n, Weigh how, float sigma_factor, const Body& body) {
  const int subs = kSuper / n, per_group = kLanes / subs;  // 16 of 16 values, or 8 of 32 from two super-blocks
  float squares[kLanes];
  if (how == Weigh::importance) sums_of_squares(batch, squares);
  for (int first = 0; first < batch.count; first += per_group) {
    const float *xs[kLanes], *ws[kLanes];
    F sigma2 = F{};
    int super[kLanes], sub[kLanes];
    for (int b = 0; b < kLanes; b++) {
      super[b] = first + b / subs;
      sub[b] = b % subs;
      xs[b] = batch.x[super[b]] + n * sub[b];
      ws[b] = batch.w[super[b]] == nullptr ? nullptr : batch.w[super[b]] + n * sub[b];
      if (how == Weigh::importance) sigma2[b] = sigma_factor * squares[super[b]] / static_cast<float>(kSuper);
    }
    F x[32], w[32];
    side_by_side(xs, n, x);
    weigh(how, n, x, ws, sigma2, w);
    body(x, w, super, sub);
  }
}

inline void pack_two_bits(const uint8_t* codes, uint8_t* out) {
  for (int half = 0; half < 2; half++) {
    const uint8_t* c = codes + 128 * half;
    for (int l = 0; l < 32; l++)
      out[32 * half + l] = static_cast<uint8_t>(c[l] | c[l + 32] << 2 | c[l + 64] << 4 | c[l + 96] << 6);
  }
}

inline void pack_nibbles(const uint8_t* codes, uint8_t* out) {
  for (int quarter = 0; quarter < 4; quarter++) {
    for (int l = 0; l < 32; l++)
      out[32 * quarter + l] =
          static_cast<uint8_t>((codes[64 * quarter + l] & 15) | (codes[64 * quarter + l + 32] & 15) << 4);
  }
}

// Bit `bit` of the codes: of value 32 j + l at bit j of byte l.
inline void pack_high_bits(const uint8_t* codes, int bit, uint8_t* out) {
  for (int l = 0; l < 32; l++) {
    int high = 0;
    for (int j = 0; j < 8; j++) high |= (codes[32 * j + l] >> bit & 1) << j;
    out[l] = static_cast<uint8_t>(high);
  }
}

inline void pack_six_bits(const uint8_t* codes, uint8_t* low, uint8_t* high) {
  for (int half = 0; half < 2; half++) {
    const uint8_t* c = codes + 128 * half;
    for (int l = 0; l < 32; l++) {
      low[64 * half + l] = static_cast<uint8_t>((c[l] & 15) | (c[l + 64] & 15) << 4);
      low[64 * half + 32 + l] = static_cast<uint8_t>((c[l + 32] & 15) | (c[l + 96] & 15) << 4);
      high[32 * half + l] =
          static_cast<uint8_t>(c[l] >> 4 | c[l + 32] >> 4 << 2 | c[l + 64] >> 4 << 4 | c[l + 96] >> 4 << 6);
    }
  }
}

// Nearest codes under the scales as stored; where a scale became zero, those of the search.
inline void codes_with_min(const float* x, int n, int nmax, float d, float m, float code_scale, float code_min,
                           uint8_t* codes) {
  for (int i = 0; i < n; i += kLanes) {
    const F v = load(x + i);
    const F wanted = d != 0.0f ? (v + m) / d : code_scale * (v - code_min);
    const I code = clamp(nearest(wanted), 0, nmax);
    for (int k = 0; k < kLanes; k++) codes[i + k] = static_cast<uint8_t>(code[k]);
  }
}

inline void signed_codes(const float* x, int n, int nmax, float d, float code_scale, uint8_t* codes) {
  if (d == 0.0f && code_scale == 0.0f) {
    for (int i = 0; i < n; i++) codes[i] = 0;
    return;
  }
  for (int i = 0; i < n; i += kLanes) {
    const F v = load(x + i);
    const I code = clamp(nearest(d != 0.0f ? v / d : code_scale * v), -nmax, nmax - 1);
    for (int k = 0; k < kLanes; k++) codes[i + k] = static_cast<uint8_t>(code[k] + nmax);
  }
}

// Scales and mins of n values, and their own scales, of a batch. The integer scales are [sub-block][super-block].
struct MinScales {
  SubScales sub;
  alignas(64) int32_t scale[16][kLanes], min[16][kLanes];
  uint16_t d[kLanes], dmin[kLanes];
};

inline void fit_with_min(const SuperBatch& batch, int n, int nmax, int scale_max, Weigh plain, float sigma_factor,
                         const Trials& plain_trials, MinScales* out) {
  const bool weighed = batch.w[0] != nullptr;
  const Trials trials = weighed ? Trials{-0.9f, 0.05f, 36, false} : plain_trials;
  const int subs = kSuper / n;
  for_sub_blocks(batch, n, weighed ? Weigh::importance : plain, sigma_factor,
                 [&](const F* x, const F* w, const int* super, const int* sub) {
                   ScaleAndMin found;
                   search_scale_and_min(n, nmax, x, w, trials, &found);
                   const F weight = total(n, w);
                   for (int b = 0; b < kLanes; b++) {
                     out->sub.scale[sub[b]][super[b]] = found.scale[b];
                     out->sub.min[sub[b]][super[b]] = found.min[b];
                     out->sub.weight[sub[b]][super[b]] = weight[b];
                     out->sub.code_scale[sub[b]][super[b]] = found.code_scale[b];
                     out->sub.code_min[sub[b]][super[b]] = found.code_min[b];
                   }
                 });
  // Lanes past the end hold what was there: nothing is written from them, but they must be numbers.
  const int filled = batch.count + (n == 32 && batch.count % 2 != 0 ? 1 : 0);
  for (int b = filled; b < kLanes; b++) {
    for (int j = 0; j < subs; j++) {
      out->sub.scale[j][b] = out->sub.min[j][b] = 0.0f;
      out->sub.weight[j][b] = 1.0f;
    }
  }
  for (int which = 0; which < 2; which++) {
    float(*values)[kLanes] = which == 0 ? out->sub.scale : out->sub.min;
    int32_t(*integers)[kLanes] = which == 0 ? out->scale : out->min;
    uint16_t* stored = which == 0 ? out->d : out->dmin;
    if (weighed) {
      F v[16], w[16];
      I codes[16];
      for (int j = 0; j < subs; j++) v[j] = load(values[j]), w[j] = load(out->sub.weight[j]);
      const F d = search_unsigned_scale(subs, scale_max, v, w, codes);
      for (int j = 0; j < subs; j++) __builtin_memcpy(integers[j], &codes[j], sizeof codes[j]);
      for (int b = 0; b < kLanes; b++) stored[b] = to_half(d[b]);
      continue;
    }
    for (int b = 0; b < batch.count; b++) {
      float max = 0.0f;
      for (int j = 0; j < subs; j++) max = values[j][b] > max ? values[j][b] : max;
      const float inverse = max > 0.0f ? static_cast<float>(scale_max) / max : 0.0f;
      for (int j = 0; j < subs; j++)
        integers[j][b] = least_of(scale_max, static_cast<uint8_t>(nearest_one(inverse * values[j][b])));
      stored[b] = to_half(max / static_cast<float>(scale_max));
    }
  }
}

inline void encode_q2_k(const SuperBatch& batch, uint8_t* out) {
  MinScales fit;
  fit_with_min(batch, 16, 3, 15, Weigh::magnitude, 1.0f, {-0.5f, 0.1f, 15, true}, &fit);
  BlockQ2_K* block = (BlockQ2_K*)out;
  for (int b = 0; b < batch.count; b++) {
    uint8_t codes[kSuper];
    const float d = half_to_float(fit.d[b]), dmin = half_to_float(fit.dmin[b]);
    for (int j = 0; j < 16; j++) {
      const uint8_t scales = static_cast<uint8_t>(fit.scale[j][b] | fit.min[j][b] << 4);
      block[b].scales[j] = scales;
      codes_with_min(batch.x[b] + 16 * j, 16, 3, d * static_cast<float>(scales & 15),
                     dmin * static_cast<float>(scales >> 4), fit.sub.code_scale[j][b], fit.sub.code_min[j][b],
                     codes + 16 * j);
    }
    pack_two_bits(codes, block[b].qs);
    block[b].d = fit.d[b];
    block[b].dmin = fit.dmin[b];
  }
}

// Eight pairs of six bits.
inline void pack_pairs(const MinScales& fit, int b, uint8_t* scales, uint8_t* codes, const float* x, int nmax) {
  for (int j = 0; j < 12; j++) scales[j] = 0;
  for (int j = 0; j < 8; j++) {
    const uint8_t s = static_cast<uint8_t>(fit.scale[j][b]), m = static_cast<uint8_t>(fit.min[j][b]);
    if (j < 4) {
      scales[j] = s;
      scales[j + 4] = m;
    } else {
      scales[j + 4] = static_cast<uint8_t>((s & 15) | (m & 15) << 4);
      scales[j - 4] = static_cast<uint8_t>(scales[j - 4] | s >> 4 << 6);
      scales[j] = static_cast<uint8_t>(scales[j] | m >> 4 << 6);
    }
  }
  const float d = half_to_float(fit.d[b]), dmin = half_to_float(fit.dmin[b]);
  for (int j = 0; j < 8; j++) {
    const int s = j < 4 ? scales[j] & 63 : (scales[j + 4] & 15) | scales[j - 4] >> 6 << 4;
    const int m = j < 4 ? scales[j + 4] & 63 : scales[j + 4] >> 4 | scales[j] >> 6 << 4;
    codes_with_min(x + 32 * j, 32, nmax, d * static_cast<float>(s), dmin * static_cast<float>(m),
                   fit.sub.code_scale[j][b], fit.sub.code_min[j][b], codes + 32 * j);
  }
}

inline void encode_q4_k(const SuperBatch& batch, uint8_t* out) {
  MinScales fit;
  fit_with_min(batch, 32, 15, 63, Weigh::mean_and_magnitude, 2.0f, {-1.0f, 0.1f, 20, false}, &fit);
  BlockQ4_K* block = (BlockQ4_K*)out;
  for (int b = 0; b < batch.count; b++) {
    uint8_t codes[kSuper];
    pack_pairs(fit, b, block[b].scales, codes, batch.x[b], 15);
    pack_nibbles(codes, block[b].qs);
    block[b].d = fit.d[b];
    block[b].dmin = fit.dmin[b];
  }
}

inline void encode_q5_k(const SuperBatch& batch, uint8_t* out) {
  MinScales fit;
  fit_with_min(batch, 32, 31, 63, Weigh::mean_and_magnitude, 2.0f, {-0.5f, 0.1f, 15, false}, &fit);
  BlockQ5_K* block = (BlockQ5_K*)out;
  for (int b = 0; b < batch.count; b++) {
    uint8_t codes[kSuper];
    for (int j = 0; j < 8; j++) {
      fit.scale[j][b] = least_of(63, fit.scale[j][b]);
      fit.min[j][b] = least_of(63, fit.min[j][b]);
    }
    pack_pairs(fit, b, block[b].scales, codes, batch.x[b], 31);
    pack_nibbles(codes, block[b].qs);
    pack_high_bits(codes, 4, block[b].qh);
    block[b].d = fit.d[b];
    block[b].dmin = fit.dmin[b];
  }
}

// Signed scales of sixteen values each, of a batch.
inline void fit_signed(const SuperBatch& batch, int nmax, Weigh how, float sigma_factor, SubScales* out) {
  for_sub_blocks(batch, 16, how, sigma_factor, [&](const F* x, const F* w, const int* super, const int* sub) {
    SignedScale found;
    search_signed_scale(16, nmax, x, w, &found);
    const F weight = total(16, w);
    for (int b = 0; b < kLanes; b++) {
      out->scale[sub[b]][super[b]] = found.scale[b];
      out->weight[sub[b]][super[b]] = weight[b];
      out->code_scale[sub[b]][super[b]] = found.code_scale[b];
    }
  });
}

inline void encode_q3_k(const SuperBatch& batch, uint8_t* out) {
  const bool weighed = batch.w[0] != nullptr;
  SubScales fit;
  alignas(64) uint8_t searched[kLanes][kSuper];
  int integers[16][kLanes];
  uint16_t d[kLanes];
  if (weighed) {
    fit_signed(batch, 4, Weigh::importance, 2.0f, &fit);
    for (int b = batch.count; b < kLanes; b++) {
      for (int j = 0; j < 16; j++) fit.scale[j][b] = 0.0f, fit.weight[j][b] = 1.0f;
    }
    F v[16], w[16];
    for (int j = 0; j < 16; j++) v[j] = load(fit.scale[j]), w[j] = load(fit.weight[j]);
    SignedScale super;
    search_signed_scale(16, 32, v, w, &super);
    for (int j = 0; j < 16; j++) {
      const I code = clamp(nearest(super.code_scale * v[j]), -32, 31) + 32;
      for (int b = 0; b < kLanes; b++) integers[j][b] = super.code_scale[b] == 0.0f ? 0 : code[b];
    }
    for (int b = 0; b < kLanes; b++) d[b] = to_half(super.scale[b]);
  } else {
    for_sub_blocks(batch, 16, Weigh::square, 0.0f, [&](const F* x, const F*, const int* super, const int* sub) {
      F codes[16];
      const F scale = descend_signed_codes(16, 4, x, codes);
      for (int b = 0; b < kLanes; b++) {
        fit.scale[sub[b]][super[b]] = scale[b];
        for (int i = 0; i < 16; i++) searched[super[b]][16 * sub[b] + i] = static_cast<uint8_t>(codes[i][b]);
      }
    });
    for (int b = 0; b < batch.count; b++) {
      float largest = 0.0f, extreme = 0.0f;
      for (int j = 0; j < 16; j++) {
        const float m = __builtin_fabsf(fit.scale[j][b]);
        if (m > largest) largest = m, extreme = fit.scale[j][b];
      }
      const float inverse = extreme != 0.0f ? -32.0f / extreme : 0.0f;
      // Without any scale the six bits are zero, which is a scale of -32, under a d of zero.
      for (int j = 0; j < 16; j++)
        integers[j][b] =
            extreme == 0.0f ? 0 : within(static_cast<int8_t>(nearest_one(inverse * fit.scale[j][b])), -32, 31) + 32;
      d[b] = extreme != 0.0f ? to_half(1.0f / inverse) : static_cast<uint16_t>(0);
    }
  }
  BlockQ3_K* block = (BlockQ3_K*)out;
  for (int b = 0; b < batch.count; b++) {
    uint8_t codes[kSuper];
    for (int j = 0; j < 12; j++) block[b].scales[j] = 0;
    for (int j = 0; j < 16; j++) {
      const int s = integers[j][b];
      uint8_t& low = block[b].scales[j % 8];
      low = static_cast<uint8_t>(low | (s & 15) << (j < 8 ? 0 : 4));
      uint8_t& high = block[b].scales[8 + j % 4];
      high = static_cast<uint8_t>(high | s >> 4 << (2 * (j / 4)));
      const float scale = half_to_float(d[b]) * static_cast<float>(s - 32);
      if (!weighed && scale == 0.0f) {
        for (int i = 0; i < 16; i++) codes[16 * j + i] = searched[b][16 * j + i];
      } else {
        signed_codes(batch.x[b] + 16 * j, 16, 4, scale, weighed ? fit.code_scale[j][b] : 0.0f, codes + 16 * j);
      }
    }
    pack_high_bits(codes, 2, block[b].hmask);
    for (int i = 0; i < kSuper; i++) codes[i] &= 3;
    pack_two_bits(codes, block[b].qs);
    block[b].d = d[b];
  }
}

inline void encode_q6_k(const SuperBatch& batch, uint8_t* out) {
  SubScales fit;
  fit_signed(batch, 32, batch.w[0] != nullptr ? Weigh::importance_alone : Weigh::square, 0.0f, &fit);
  BlockQ6_K* block = (BlockQ6_K*)out;
  for (int b = 0; b < batch.count; b++) {
    float largest = 0.0f, extreme = 0.0f;
    for (int j = 0; j < 16; j++) {
      const float m = __builtin_fabsf(fit.scale[j][b]);
      if (m > largest) largest = m, extreme = fit.scale[j][b];
    }
    if (largest < kNothing) {
      __builtin_memset(&block[b], 0, sizeof block[b]);
      continue;
    }
    uint8_t codes[kSuper];
    const float inverse = -128.0f / extreme;
    block[b].d = to_half(1.0f / inverse);
    const float d = half_to_float(block[b].d);
    for (int j = 0; j < 16; j++) {
      const int8_t s = static_cast<int8_t>(least_of(127, nearest_one(inverse * fit.scale[j][b])));
      block[b].scales[j] = s;
      signed_codes(batch.x[b] + 16 * j, 16, 32, d * static_cast<float>(s), fit.code_scale[j][b], codes + 16 * j);
    }
    pack_six_bits(codes, block[b].ql, block[b].qh);
  }
}

}  // namespace
}  // namespace hw
