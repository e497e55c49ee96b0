// IQ1: three values and a shift of an eighth, found by trying all splits of the sorted values into three runs; then
// entries of a code book.
namespace hw {
namespace {

constexpr float kEighth = 0.125f;
constexpr float kPlus[3] = {-1.0f + kEighth, kEighth, 1.0f + kEighth};
constexpr float kMinus[3] = {-1.0f - kEighth, -kEighth, 1.0f - kEighth};

// The entry of the least error among those around a point; values are letter - 1 + shift.
inline int nearest_shifted_entry(const Grid& g, int place, const float* x, const float* w, float scale, float shift) {
  F least = spread(3.402823466e+38f);
  I where = I{};
  const int tiles = g.tiles[place];
  for (int t = 0; t < tiles; t++) {
    const int8_t* odd = g.odd + static_cast<int64_t>(place + t) * 16 * 8;
    F error = F{};
    HW_UNROLL
    for (int k = 0; k < 8; k++) {
      Bytes16 bytes;
      __builtin_memcpy(&bytes, odd + 16 * k, 16);
      const F q = to_float((__builtin_convertvector(bytes, I) >> 1) - 1) + shift;
      const F diff = scale * q - x[k];
      error += w[k] * diff * diff;
    }
    const I better = error < least;
    least = better ? error : least;
    where = better ? I{} + t : where;
  }
  float best = least[0];
  int at = where[0] * 16;
  HW_UNROLL
  for (int k = 1; k < 16; k++) {
    const int candidate = where[k] * 16 + k;
    if (least[k] < best || (least[k] == best && candidate < at)) best = least[k], at = candidate;
  }
  return g.around[place * 16 + at];
}

// Indexes in ascending order of their values; equal ones keep their order.
inline void sort_indexes(const float* x, int n, int* order) {
  for (int i = 0; i < n; i++) {
    int at = i;
    for (; at > 0 && x[i] < x[order[at - 1]]; at--) order[at] = order[at - 1];
    order[at] = i;
  }
}

struct ShiftedScale {
  float scale;
  int shifts;  // IQ1_S: 1 or -1; IQ1_M: bit 1 of the first half, bit 0 of the second, set is minus
  uint16_t entries[4];
};

// `shift_of(k)`: that of eight values.
template <typename ShiftOf>
inline void shifted_entries(const Grid& g, int n, const float* x, const float* w, const uint8_t* letters,
                            const ShiftOf& shift_of, ShiftedScale* out) {
  bool all_entries = true;
  for (int k = 0; k < n / 8; k++) {
    int point = 0;
    for (int i = 0; i < 8; i++) point |= letters[8 * k + i] << (2 * i);
    const int found = g.entry_of[point];
    all_entries = all_entries && found >= 0;
    out->entries[k] = static_cast<uint16_t>(
        found >= 0 ? found : nearest_shifted_entry(g, -1 - found, x + 8 * k, w + 8 * k, out->scale, shift_of(k)));
  }
  if (all_entries) return;
  float sum_qx = 0.0f, sum_q2 = 0.0f;
  for (int i = 0; i < n; i++) {
    const int odd = g.entries[out->entries[i / 8] * 8 + i % 8];
    const float q = static_cast<float>(odd / 2 - 1) + shift_of(i / 8);
    sum_qx += w[i] * q * x[i];
    sum_q2 += w[i] * q * q;
  }
  if (sum_qx > 0.0f && sum_q2 > 0.0f) out->scale = sum_qx / sum_q2;
}

inline void fit_iq1_s(const Grid& g, const float* x, const float* w, ShiftedScale* out) {
  constexpr int n = 32;
  *out = {0.0f, 1, {0, 0, 0, 0}};
  float largest = __builtin_fabsf(x[0]);
  for (int i = 1; i < n; i++) largest = largest > __builtin_fabsf(x[i]) ? largest : __builtin_fabsf(x[i]);
  if (largest < 1e-12f) return;
  int order[n];
  sort_indexes(x, n, order);
  float sum_x[n + 1 + kLanes] = {0}, sum_w[n + 1 + kLanes] = {0};
  for (int j = 0; j < n; j++) {
    sum_x[j + 1] = sum_x[j] + w[order[j]] * x[order[j]];
    sum_w[j + 1] = sum_w[j] + w[order[j]];
  }
  float best = -3.402823466e+38f, scale = largest;
  int split1 = -1, split2 = -1, shift = 0;
  for (int i1 = 0; i1 <= n; i1++) {
    for (int from = i1; from <= n; from += kLanes) {
      const F x2 = load(sum_x + from), w2 = load(sum_w + from);
      F qx[2], q2[2];
      HW_UNROLL
      for (int s = 0; s < 2; s++) {
        const float* v = s == 0 ? kPlus : kMinus;
        qx[s] = (sum_x[i1] - sum_x[0]) * v[0] + (x2 - sum_x[i1]) * v[1] + (sum_x[n] - x2) * v[2];
        q2[s] = (sum_w[i1] - sum_w[0]) * v[0] * v[0] + (w2 - sum_w[i1]) * v[1] * v[1] + (sum_w[n] - w2) * v[2] * v[2];
      }
      I better = I{};
      for (int s = 0; s < 2; s++) better |= (q2[s] > 0.0f) & (qx[s] * qx[s] > best * q2[s]);
      if (!any(better)) continue;
      for (int k = 0; k < kLanes && from + k <= n; k++) {
        for (int s = 0; s < 2; s++) {
          const float a = qx[s][k], b = q2[s][k];
          if (!(b > 0.0f && a * a > best * b)) continue;
          scale = a / b;
          best = scale * a;
          split1 = i1, split2 = from + k, shift = s == 0 ? 1 : -1;
        }
      }
    }
  }
  if (shift == 0) return;
  uint8_t letters[n];
  for (int j = 0; j < n; j++) letters[order[j]] = j < split1 ? 0 : j < split2 ? 1 : 2;
  if (scale < 0.0f) {
    for (int j = 0; j < n; j++) letters[j] = static_cast<uint8_t>(2 - letters[j]);
    scale = -scale;
    shift = -shift;
  }
  out->scale = scale;
  out->shifts = shift;
  shifted_entries(g, n, x, w, letters, [&](int) { return shift == 1 ? kEighth : -kEighth; }, out);
}

inline void fit_iq1_m(const Grid& g, const float* x, const float* w, ShiftedScale* out) {
  constexpr int n = 16;
  *out = {0.0f, 0, {0, 0, 0, 0}};
  float largest = __builtin_fabsf(x[0]);
  for (int i = 1; i < n; i++) largest = largest > __builtin_fabsf(x[i]) ? largest : __builtin_fabsf(x[i]);
  if (largest < 1e-7f) return;
  int order[n];
  sort_indexes(x, n, order);
  // Sums of each half apart, since each has a shift of its own.
  float sum_x[2][n + 1 + kLanes] = {{0}}, sum_w[2][n + 1 + kLanes] = {{0}};
  for (int j = 0; j < n; j++) {
    const int i = order[j], h = i < n / 2 ? 0 : 1;
    sum_x[h][j + 1] = sum_x[h][j] + w[i] * x[i];
    sum_x[1 - h][j + 1] = sum_x[1 - h][j];
    sum_w[h][j + 1] = sum_w[h][j] + w[i];
    sum_w[1 - h][j + 1] = sum_w[1 - h][j];
  }
  const float* v[2] = {kPlus, kMinus};
  float best = -3.402823466e+38f, scale = largest;
  int split1 = -1, split2 = -1, shifts = -1;
  for (int i1 = 0; i1 <= n; i1++) {
    for (int from = i1; from <= n; from += kLanes) {
      F qx[2][2], q2[2][2];
      HW_UNROLL
      for (int s = 0; s < 2; s++) {
        const float c1 = v[s][0] * v[s][0] - v[s][1] * v[s][1], c2 = v[s][1] * v[s][1] - v[s][2] * v[s][2];
        HW_UNROLL
        for (int h = 0; h < 2; h++) {
          const F sum = sum_x[h][i1] + load(sum_x[h] + from);
          qx[s][h] = sum_x[h][n] * v[s][2] - sum;
          q2[s][h] = sum_w[h][n] * v[s][2] * v[s][2] + sum_w[h][i1] * c1 + load(sum_w[h] + from) * c2;
        }
      }
      F a[4], b[4];
      I better = I{};
      HW_UNROLL
      for (int k = 0; k < 4; k++) {
        a[k] = qx[k / 2][0] + qx[k % 2][1];
        b[k] = q2[k / 2][0] + q2[k % 2][1];
        better |= (b[k] > 0.0f) & (a[k] * a[k] > best * b[k]);
      }
      if (!any(better)) continue;
      for (int l = 0; l < kLanes && from + l <= n; l++) {
        for (int k = 0; k < 4; k++) {
          if (!(b[k][l] > 0.0f && a[k][l] * a[k][l] > best * b[k][l])) continue;
          scale = a[k][l] / b[k][l];
          best = scale * a[k][l];
          split1 = i1, split2 = from + l, shifts = k;
        }
      }
    }
  }
  if (shifts < 0) return;
  uint8_t letters[n];
  for (int j = 0; j < n; j++) letters[order[j]] = j < split1 ? 0 : j < split2 ? 1 : 2;
  if (scale < 0.0f) {
    for (int j = 0; j < n; j++) letters[j] = static_cast<uint8_t>(2 - letters[j]);
    scale = -scale;
    shifts = 3 - shifts;
  }
  out->scale = scale;
  out->shifts = shifts;
  shifted_entries(g, n, x, w, letters,
                  [&](int k) { return (k == 0 ? shifts < 2 : shifts % 2 == 0) ? kEighth : -kEighth; }, out);
}

inline void encode_iq1_s(const SuperBatch& batch, uint8_t* out) {
  const Grid* g = grid(Book::iq1);
  if (g == nullptr) return;
  alignas(64) float w[kLanes][kSuper];
  weigh_batch(batch, 2.0f, false, w);
  BlockIQ1_S* blocks = (BlockIQ1_S*)out;
  for (int b = 0; b < batch.count; b++) {
    __builtin_memset(&blocks[b], 0, sizeof blocks[b]);
    ShiftedScale found[8];
    float most = 0.0f;
    for (int j = 0; j < 8; j++) {
      fit_iq1_s(*g, batch.x[b] + 32 * j, w[b] + 32 * j, &found[j]);
      most = most > found[j].scale ? most : found[j].scale;
      int high = 0;
      for (int k = 0; k < 4; k++) {
        blocks[b].qs[4 * j + k] = static_cast<uint8_t>(found[j].entries[k]);
        high |= found[j].entries[k] >> 8 << (3 * k);
      }
      blocks[b].qh[j] = static_cast<uint16_t>(high);
    }
    if (most == 0.0f) continue;
    const float d = most / 15.0f, inverse = 1.0f / d;
    blocks[b].d = to_half(d * 1.125f);
    for (int j = 0; j < 8; j++) {
      int s = within(nearest_one(0.5f * (inverse * found[j].scale - 1.0f)), 0, 7);
      if (found[j].shifts == -1) s |= 8;
      blocks[b].qh[j] = static_cast<uint16_t>(blocks[b].qh[j] | s << 12);
    }
  }
}

inline void encode_iq1_m(const SuperBatch& batch, uint8_t* out) {
  const Grid* g = grid(Book::iq1);
  if (g == nullptr) return;
  alignas(64) float w[kLanes][kSuper];
  weigh_batch(batch, 2.0f, false, w);
  BlockIQ1_M* blocks = (BlockIQ1_M*)out;
  for (int b = 0; b < batch.count; b++) {
    __builtin_memset(&blocks[b], 0, sizeof blocks[b]);
    ShiftedScale found[16];
    float most = 0.0f;
    for (int j = 0; j < 16; j++) {
      fit_iq1_m(*g, batch.x[b] + 16 * j, w[b] + 16 * j, &found[j]);
      most = most > found[j].scale ? most : found[j].scale;
      for (int k = 0; k < 2; k++) blocks[b].qs[2 * j + k] = static_cast<uint8_t>(found[j].entries[k]);
      blocks[b].qh[j] = static_cast<uint8_t>(found[j].entries[0] >> 8 | found[j].entries[1] >> 8 << 4);
    }
    if (most == 0.0f) continue;
    float d = most / 15.0f;
    const float inverse = 1.0f / d;
    float sum_qx = 0.0f, sum_q2 = 0.0f;
    for (int j = 0; j < 16; j++) {
      const int s = within(nearest_one(0.5f * (inverse * found[j].scale - 1.0f)), 0, 7);
      blocks[b].scales[j / 4] = static_cast<uint16_t>(blocks[b].scales[j / 4] | s << (3 * (j % 4)));
      const int first = found[j].shifts < 2 ? 0 : 8, second = found[j].shifts % 2 == 0 ? 0 : 128;
      blocks[b].qh[j] = static_cast<uint8_t>(blocks[b].qh[j] | first | second);
      for (int i = 0; i < 16; i++) {
        const int odd = g->entries[found[j].entries[i / 8] * 8 + i % 8];
        const float shift = (i < 8 ? first == 0 : second == 0) ? kEighth : -kEighth;
        const float q = (static_cast<float>(odd / 2 - 1) + shift) * static_cast<float>(2 * s + 1);
        const float weight = w[b][16 * j + i];
        sum_qx += weight * q * batch.x[b][16 * j + i];
        sum_q2 += weight * q * q;
      }
    }
    if (sum_q2 > 0.0f) d = sum_qx / sum_q2;
    const uint16_t half = to_half(d * 1.1125f);
    for (int k = 0; k < 4; k++)
      blocks[b].scales[k] = static_cast<uint16_t>(blocks[b].scales[k] | (half >> (4 * k) & 15) << 12);
  }
}

}  // namespace
}  // namespace hw
