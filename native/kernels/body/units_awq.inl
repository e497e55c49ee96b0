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

// Scales, offsets and sums of a run of output rows lie in scratch in the order of codes: a unit of all rows is gone
// through before the next one, so that memory is read in as many streams as a unit has inputs, which prefetchers
// follow. (All units of a group for 128 rows were four times as many, each a line long: half the rate.)
constexpr int64_t kAwqRun = 2048;
constexpr int64_t kAwqRoom = (2 + int64_t{kFewTokens}) * kAwqRun * 4;
struct AwqRun {
  float* scales;
  int32_t* offsets;
  float* sums;  // [tokens][kAwqRun]
};

// Scales and negated offsets of kAwqRows rows, of the group of an input.
static inline void awq_group(const InputAwq& source, int64_t r, int64_t input, float* scales, int32_t* offsets) {
  alignas(64) float plain[kAwqRows];
  for (int i = 0; i < kAwqParts; i++) {
    V unused;
    F some;
    source.group(r + i * kLanes, kLanes, input, &some, &unused);
    f_store(plain + i * kLanes, some);
  }
  F scale[kAwqParts];
  awq_load(plain, scale);
  const V none = v_set32(0), z = v_load(source.zeros(r)), addend = v_set32(source.layout.form.addend);
  const V half[2] = {v_zip8_low(z, none), v_zip8_high(z, none)};
#pragma GCC unroll 8
  for (int i = 0; i < kAwqParts; i++) {
    const V w = i / 2 % 2 == 0 ? v_zip16_low(half[i / 4], none) : v_zip16_high(half[i / 4], none);
    const V stored = v_and(i % 2 == 0 ? w : v_srl<4>(w), v_set32(15));
    const V offset = v_and(v_sub32(none, v_and(v_add32(stored, addend), v_set32(15))), v_set32(0xffff));
    f_store(scales + i * kLanes, scale[i]);
    v_store(reinterpret_cast<uint8_t*>(offsets + i * kLanes), offset);
  }
}

// A unit of kAwqRows rows from the codes `at` on. `ahead`: what is read next but one.
template <int T>
static inline void awq_unit(const uint8_t* at, int64_t stride, const uint8_t* ahead, const PackedActs& acts, int64_t u,
                            const float* scales, const int32_t* offsets, float* sums) {
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
    float* const to = sums + t * kAwqRun;
#pragma GCC unroll 8
    for (int i = 0; i < kAwqParts; i++) {
      const V offset = v_load(reinterpret_cast<const uint8_t*>(offsets + i * kLanes));
      const V isum = v_plus(v_total<false>(sum[t][i]), offset, total);
      f_store(to + i * kLanes, f_fma(f_mul(f_load(scales + i * kLanes), d), f_of(isum), f_load(to + i * kLanes)));
    }
  }
}

// Inputs [input, end) of rows [r, r1), whole blocks and at most kAwqRun. The packed activations begin at `first`.
static void awq_run(const InputAwq& source, int64_t r, int64_t r1, int64_t input, int64_t end, int64_t first, int32_t n,
                    const PackedActs& acts, float* out, int64_t out_stride, const AwqRun& room) {
  const int64_t stride = source.grid.input_stride[kValuesPlane], rows = r1 - r;
  F v[kAwqParts];
  for (int64_t b = 0; b < rows; b += kAwqRows) {
    for (int32_t t = 0; t < n; t++) {
      awq_load(out + t * out_stride + b, v);
      for (int i = 0; i < kAwqParts; i++) f_store(room.sums + t * kAwqRun + b + i * kLanes, v[i]);
    }
  }
  for (int64_t to; input < end; input = to) {
    to = span_end(source.layout, input, end, end - input);
    for (int64_t b = 0; b < rows; b += kAwqRows) awq_group(source, r + b, input, room.scales + b, room.offsets + b);
    for (int64_t unit = input; unit < to; unit += 32) {
      for (int64_t b = 0; b < rows; b += kAwqRows) {
        // The lines beside these, then the first of the unit behind them.
        int64_t next = b + 2 * kAwqRows;
        const bool turn = next >= rows;
        if (turn) next = next - rows < rows ? next - rows : 0;
        const uint8_t* const ahead = source.values(r + next, turn && unit + 32 < end ? unit + 32 : unit);
        const uint8_t* const at = source.values(r + b, unit);
        const int64_t u = (unit - first) / 32;
        PackedActs own = acts;
        for (int32_t t = 0; t < n;) {
          const int32_t took = n - t >= kAwqTokens ? kAwqTokens : 1;
          float* const sums = room.sums + t * kAwqRun + b;
          if (took == kAwqTokens) {
            awq_unit<kAwqTokens>(at, stride, ahead, own, u, room.scales + b, room.offsets + b, sums);
          } else {
            awq_unit<1>(at, stride, ahead, own, u, room.scales + b, room.offsets + b, sums);
          }
          t += took;
          own.q += took * acts.units * 32;
          own.d += took * acts.units;
          own.sums += took * acts.units;
        }
      }
    }
  }
  for (int64_t b = 0; b < rows; b += kAwqRows) {
    for (int32_t t = 0; t < n; t++) {
      for (int i = 0; i < kAwqParts; i++) v[i] = f_load(room.sums + t * kAwqRun + b + i * kLanes);
      awq_store(out + t * out_stride + b, v);
    }
  }
}

// As many rows of [r0, r1) as are whole blocks; returns the first that is not.
static inline int64_t awq_rows(const InputAwq& source, int64_t r0, int64_t r1, int64_t first, int64_t end, int32_t n,
                               const PackedActs& acts, float* out, int64_t out_stride, uint8_t* memory) {
  if (!source.wide(r0)) return r0;
  AwqRun room;
  room.scales = reinterpret_cast<float*>(memory);
  room.offsets = reinterpret_cast<int32_t*>(room.scales + kAwqRun);
  room.sums = reinterpret_cast<float*>(room.offsets + kAwqRun);
  const int64_t last = r0 + (r1 - r0) / kAwqRows * kAwqRows;
  for (int64_t r = r0, to; r < last; r = to) {
    to = r + kAwqRun < last ? r + kAwqRun : last;
    awq_run(source, r, to, first, end, first, n, acts, out + r - r0, out_stride, room);
  }
  return last;
}
