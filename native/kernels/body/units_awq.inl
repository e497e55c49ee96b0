// Few token rows of AWQ: of four inputs a register of nibbles each, which are kAwqRows output rows. Their bytes are put
// side by side in lanes; so are the low nibbles of a register's bytes and the high ones, and no row is put into order
// but its sum, its scale and its offset. Each line of memory is read once. Included by units_integers.inl.

constexpr int kAwqParts = 8;  // registers of sums
constexpr int kAwqRows = kAwqParts * kLanes;
// Register 2 m + h, lane 4 l + d is row 32 l + 8 m + kAwqRow[h][d]: nibble 2 d + h of word 4 l + m.
constexpr int kAwqStep = 32;

// The codes of four inputs that are `stride` bytes apart.
static inline __attribute__((always_inline)) void awq_codes(const uint8_t* at, int64_t stride, V* q) {
  const V nibble = v_set32(0x0f0f0f0f);
  const V a = v_load(at), b = v_load(at + stride), c = v_load(at + 2 * stride), d = v_load(at + 3 * stride);
  const V ab[2] = {v_zip8_low(a, b), v_zip8_high(a, b)}, cd[2] = {v_zip8_low(c, d), v_zip8_high(c, d)};
#pragma GCC unroll 4
  for (int m = 0; m < 4; m++) {
    const V w = m % 2 == 0 ? v_zip16_low(ab[m / 2], cd[m / 2]) : v_zip16_high(ab[m / 2], cd[m / 2]);
    q[2 * m] = v_and(w, nibble);
    q[2 * m + 1] = v_and(v_srl<4>(w), nibble);
  }
}

// Floats of kAwqRows rows into the order of codes, and back. Lane l: rows 0-3 of eight in x, 4-7 in y.
static inline __attribute__((always_inline)) void awq_load(const float* p, F* v) {
#pragma GCC unroll 4
  for (int m = 0; m < 4; m++) {
    const F x = f_load_lanes(p + 8 * m, kAwqStep), y = f_load_lanes(p + 8 * m + 4, kAwqStep);
    v[2 * m] = f_zip_low(x, y);
    v[2 * m + 1] = f_zip_high(x, y);
  }
}
static inline __attribute__((always_inline)) void awq_store(float* p, const F* v) {
#pragma GCC unroll 4
  for (int m = 0; m < 4; m++) {
    f_store_lanes(p + 8 * m, kAwqStep, f_evens(v[2 * m], v[2 * m + 1]));
    f_store_lanes(p + 8 * m + 4, kAwqStep, f_odds(v[2 * m], v[2 * m + 1]));
  }
}

// Units [u0, u1) of the packed ones, all of a group, for rows [r, r + kAwqRows). `ahead`: what is read next but one.
template <int T>
static void awq_block(const InputAwq& source, int64_t r, int64_t input, int64_t u0, int64_t u1, const PackedActs& acts,
                      float* out, int64_t out_stride, const uint8_t* ahead) {
  const int64_t stride = source.grid.input_stride[kValuesPlane];
  const uint8_t* at = source.values(r, input);
  F scale[kAwqParts], acc[T][kAwqParts];
  V offset[kAwqParts];
  {
    alignas(64) float scales[kAwqRows];
    for (int i = 0; i < kAwqParts; i++) {
      V unused;
      F some;
      source.group(r + i * kLanes, kLanes, input, &some, &unused);
      f_store(scales + i * kLanes, some);
    }
    awq_load(scales, scale);
    const V none = v_set32(0), z = v_load(source.zeros(r)), addend = v_set32(source.layout.form.addend);
    const V half[2] = {v_zip8_low(z, none), v_zip8_high(z, none)};
#pragma GCC unroll 8
    for (int i = 0; i < kAwqParts; i++) {
      const V w = i / 2 % 2 == 0 ? v_zip16_low(half[i / 4], none) : v_zip16_high(half[i / 4], none);
      const V stored = v_and(i % 2 == 0 ? w : v_srl<4>(w), v_set32(15));
      offset[i] = v_and(v_sub32(none, v_and(v_add32(stored, addend), v_set32(15))), v_set32(0xffff));
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) awq_load(out + t * out_stride, acc[t]);
  for (int64_t u = u0; u < u1; u++) {
    const uint8_t* const a = acts.q + u * 32;
    V sum[T][kAwqParts];
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
#pragma GCC unroll 8
      for (int i = 0; i < kAwqParts; i++) sum[t][i] = v_set32(0);
    }
#pragma GCC unroll 2
    for (int k = 0; k < kCodesOfUnit; k++, at += 4 * stride, ahead += 4 * stride) {
      for (int i = 0; i < 4; i++) v_prefetch(ahead + i * stride);
      V q[kAwqParts];
      awq_codes(at, stride, q);
#pragma GCC unroll 8
      for (int t = 0; t < T; t++) {
        const V four = v_four(a + t * acts.units * 32 + 4 * k);
#pragma GCC unroll 8
        for (int i = 0; i < kAwqParts; i++) sum[t][i] = v_dot<false>(sum[t][i], q[i], four);
      }
    }
#pragma GCC unroll 8
    for (int t = 0; t < T; t++) {
      const V total = v_four(acts.sums + t * acts.units + u);
      const F d = f_set(acts.d + t * acts.units + u);
#pragma GCC unroll 8
      for (int i = 0; i < kAwqParts; i++) {
        const V isum = v_plus(v_total<false>(sum[t][i]), offset[i], total);
        acc[t][i] = f_fma(f_mul(scale[i], d), f_of(isum), acc[t][i]);
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < T; t++) awq_store(out + t * out_stride, acc[t]);
}

// As many rows of [r0, r1) as are whole blocks; returns the first that is not.
static inline int64_t awq_rows(const InputAwq& source, int64_t r0, int64_t r1, int64_t input, int64_t u0, int64_t u1,
                               int32_t n, const PackedActs& acts, float* out, int64_t out_stride) {
  if (!source.wide(r0)) return r0;
  const int64_t inputs = 32 * (u1 - u0);
  int64_t r = r0;
  for (; r + kAwqRows <= r1; r += kAwqRows) {
    // The lines beside these, then the first of the inputs behind them.
    int64_t next = r + 2 * kAwqRows;
    const bool turn = next + kAwqRows > r1;
    if (turn) next = r0 + (r + kAwqRows + kAwqRows > r1 ? kAwqRows : 0);
    const uint8_t* const ahead = source.values(next, turn ? input + inputs : input);
    PackedActs rows = acts;
    for (int32_t t = 0; t < n;) {
      float* const to = out + t * out_stride + r - r0;
      if (n - t >= kAwqTokens) {
        awq_block<kAwqTokens>(source, r, input, u0, u1, rows, to, out_stride, ahead);
      } else {
        awq_block<1>(source, r, input, u0, u1, rows, to, out_stride, ahead);
      }
      const int32_t took = n - t >= kAwqTokens ? kAwqTokens : 1;
      t += took;
      rows.q += took * acts.units * 32;
      rows.d += took * acts.units;
      rows.sums += took * acts.units;
    }
  }
  return r;
}
