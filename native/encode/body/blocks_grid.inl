// IQ2 and IQ3: signs apart, magnitudes as entries of a code book, one scale for 16 or 32 values. All trial scales of a
// block lie side by side, and the entries around a point do.
namespace hw {
namespace {

enum class Refit { outside, all, all_if_any_outside };

struct GridForm {
  Book book;
  int n;            // values of a scale
  bool even_signs;  // an eighth sign follows from seven: the least value changes sign where it would not
  int trials;       // 2 * half + 1
  float step;
  bool fitted_start;  // trial scales begin at the best unsigned scale, not at the largest value
  Refit refit;
  float nothing;
  float sigma_factor;
  float fudge;
};

constexpr GridForm kIQ2XXS = {Book::iq2_xxs, 32, true, 13, 0.1f, true, Refit::all, 1e-15f, 1.0f, 1.0f};
constexpr GridForm kIQ2XS = {Book::iq2_xs, 16, true, 19, 0.1f, false, Refit::outside, 1e-15f, 1.0f, 1.0f};
constexpr GridForm kIQ2S = {Book::iq2_s, 16, false, 19, 0.1f, false, Refit::outside, 1e-8f, 2.0f, 0.9875f};
constexpr GridForm kIQ3XXS = {Book::iq3_xxs, 32, true, 31, 0.2f, false, Refit::outside, 1e-8f, 2.0f, 1.0125f};
constexpr GridForm kIQ3S = {Book::iq3_s, 32, false, 19, 0.2f, false, Refit::all_if_any_outside, 0.0f, 2.0f, 1.033f};

constexpr int values_of(Book book) { return book == Book::iq3_xxs || book == Book::iq3_s ? 4 : 8; }
constexpr int bits_of(Book book) { return values_of(book) == 4 ? 3 : 2; }
constexpr int letters_of(Book book) { return values_of(book) == 4 ? 8 : 3; }

// The best of the entries around a point: the first one of the least error. `root`: square roots of the weights.
template <int values>
inline int nearest_entry(const Grid& g, int place, const float* x, const float* root, float scale) {
  F least = spread(3.402823466e+38f);
  I where = I{};
  const int tiles = g.tiles[place];
  for (int t = 0; t < tiles; t++) {
    const int8_t* odd = g.odd + static_cast<int64_t>(place + t) * 16 * values;
    F error = F{};
    HW_UNROLL
    for (int k = 0; k < values; k++) {
      Bytes16 bytes;
      __builtin_memcpy(&bytes, odd + 16 * k, 16);
      const F diff = scale * to_float(__builtin_convertvector(bytes, I)) - x[k];
      error += root[k] * diff * diff;
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

struct GridScale {
  float scale;
  uint8_t signs[4];
  uint16_t entries[8];
};

template <int values>
inline int entry_at(const Grid& g, int point, const float* x, const float* root, float scale, bool* outside) {
  const int found = g.entry_of[point];
  *outside = found < 0;
  return found >= 0 ? found : nearest_entry<values>(g, -1 - found, x, root, scale);
}

template <const GridForm& form>
inline void fit_grid_block(const Grid& g, const float* xb, const float* w, float start, GridScale* out) {
  constexpr int n = form.n, half = form.trials / 2, letters = letters_of(form.book), bits = bits_of(form.book);
  constexpr int values = values_of(form.book), groups = n / values, most = 2 * letters - 1;
  float x[n], root[n];
  for (int i = 0; i < n; i++) root[i] = __builtin_sqrtf(w[i]);
  for (int k = 0; k < n / 8; k++) {
    int flips = 0, signs = 0;
    for (int i = 8 * k; i < 8 * k + 8; i++) {
      const bool minus = !(xb[i] >= 0.0f);
      x[i] = minus ? -xb[i] : xb[i];
      signs |= minus << (i % 8);
      flips += minus;
    }
    if (form.even_signs && flips % 2 != 0) {
      int least = 8 * k;
      float lost = w[least] * xb[least] * xb[least];
      for (int i = 8 * k + 1; i < 8 * k + 8; i++) {
        const float tried = w[i] * xb[i] * xb[i];
        if (tried < lost) lost = tried, least = i;
      }
      x[least] = -x[least];
      signs ^= 1 << (least % 8);
    }
    out->signs[k] = static_cast<uint8_t>(form.even_signs ? signs & 127 : signs);
  }
  float largest = x[0];
  for (int i = 1; i < n; i++) largest = largest > x[i] ? largest : x[i];
  const float range = form.fitted_start ? start * 3.0f : largest;
  if ((form.nothing > 0.0f ? largest < form.nothing : largest == 0.0f) || !(range > 0.0f)) {
    *out = {0.0f, {0, 0, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 0}};
    return;
  }
  for (int k = 0; k < groups; k++) out->entries[k] = static_cast<uint16_t>(g.entry_of[0]);
  float scale = form.fitted_start ? start : largest / static_cast<float>(most), best = 0.0f;

  // [trial]: points of all groups, then sums over the values in their order.
  constexpr int kSets = (form.trials + kLanes - 1) / kLanes;
  alignas(64) float inverse[kSets * kLanes];
  for (int t = 0; t < kSets * kLanes; t++) {
    const int k = t < form.trials ? t - half : 0;
    inverse[t] = (static_cast<float>(most) + static_cast<float>(k) * form.step) / range;
  }
  alignas(64) int32_t points[groups][kSets * kLanes];
  alignas(64) float odd[n][kSets * kLanes];
  for (int set = 0; set < kSets; set++) {
    const F id = load(inverse + kLanes * set);
    for (int k = 0; k < groups; k++) {
      I point = I{};
      HW_UNROLL
      for (int i = 0; i < values; i++) {
        const I letter = clamp(nearest(0.5f * (id * x[values * k + i] - 1.0f)), 0, letters - 1);
        point |= letter << (bits * i);
        const F value = to_float(2 * letter + 1);
        __builtin_memcpy(&odd[values * k + i][kLanes * set], &value, sizeof value);
      }
      __builtin_memcpy(&points[k][kLanes * set], &point, sizeof point);
    }
  }
  uint16_t entries[groups][kSets * kLanes];
  uint32_t outside[kSets * kLanes];
  for (int t = 0; t < form.trials; t++) {
    outside[t] = 0;
    const float this_scale = 1.0f / inverse[t];
    for (int k = 0; k < groups; k++) {
      bool off;
      const int entry = entry_at<values>(g, points[k][t], x + values * k, root + values * k, this_scale, &off);
      entries[k][t] = static_cast<uint16_t>(entry);
      if (!off) continue;
      outside[t] |= 1u << k;
      for (int i = 0; i < values; i++)
        odd[values * k + i][t] = static_cast<float>(g.entries[entry * values + i]);
    }
  }
  uint32_t off_grid = form.refit == Refit::all_if_any_outside ? 0xff : 0;
  alignas(64) float qx[kSets * kLanes], q2[kSets * kLanes];
  for (int set = 0; set < kSets; set++) {
    F sum_qx = F{}, sum_q2 = F{};
    for (int i = 0; i < n; i++) {
      const F q = load(&odd[i][kLanes * set]);
      sum_qx += w[i] * x[i] * q;
      sum_q2 += w[i] * q * q;
    }
    __builtin_memcpy(qx + kLanes * set, &sum_qx, sizeof sum_qx);
    __builtin_memcpy(q2 + kLanes * set, &sum_q2, sizeof sum_q2);
  }
  for (int t = 0; t < form.trials; t++) {
    if (!(q2[t] > 0.0f && qx[t] * qx[t] > best * q2[t])) continue;
    scale = qx[t] / q2[t];
    best = scale * qx[t];
    off_grid = outside[t];
    for (int k = 0; k < groups; k++) out->entries[k] = entries[k][t];
  }
  if ((form.refit == Refit::all || off_grid != 0) && scale > 0.0f) {
    const float id = 1.0f / scale;
    for (int k = 0; k < groups; k++) {
      if (form.refit == Refit::outside && (off_grid >> k & 1) == 0) continue;
      int point = 0;
      for (int i = 0; i < values; i++)
        point |= within(nearest_one(0.5f * (id * x[values * k + i] - 1.0f)), 0, letters - 1) << (bits * i);
      bool off;
      out->entries[k] =
          static_cast<uint16_t>(entry_at<values>(g, point, x + values * k, root + values * k, scale, &off));
    }
    float sum_qx = 0.0f, sum_q2 = 0.0f;
    for (int i = 0; i < n; i++) {
      const float q = static_cast<float>(g.entries[out->entries[i / values] * values + i % values]);
      sum_qx += w[i] * x[i] * q;
      sum_q2 += w[i] * q * q;
    }
    if (sum_q2 > 0.0f) scale = sum_qx / sum_q2;
  }
  if (scale < 0.0f) {
    scale = -scale;
    for (int k = 0; k < n / 8; k++)
      out->signs[k] = static_cast<uint8_t>(form.even_signs ? ~out->signs[k] & 127 : ~out->signs[k]);
  }
  out->scale = scale == scale ? scale : 0.0f;
}

// The scale of non-negative values that IQ2_XXS begins with, of sixteen blocks of 32.
inline void unsigned_starts(const SuperBatch& batch, int first, const float (*w)[kSuper], float (*start)[8]) {
  alignas(64) float x[kLanes][32];
  const float *xs[kLanes], *ws[kLanes];
  for (int lane = 0; lane < kLanes; lane++) {
    const int b = first + lane / 8, j = lane % 8;
    const float* from = batch.x[b] + 32 * j;
    const float* weights = w[b] + 32 * j;
    for (int k = 0; k < 32; k += 8) {
      int flips = 0, least = k;
      for (int i = k; i < k + 8; i++) {
        const bool minus = !(from[i] >= 0.0f);
        x[lane][i] = minus ? -from[i] : from[i];
        flips += minus;
        if (weights[i] * from[i] * from[i] < weights[least] * from[least] * from[least]) least = i;
      }
      if (flips % 2 != 0) x[lane][least] = -x[lane][least];
    }
    xs[lane] = x[lane];
    ws[lane] = weights;
  }
  F vx[32], vw[32];
  I codes[32];
  side_by_side(xs, 32, vx);
  side_by_side(ws, 32, vw);
  const F found = search_unsigned_scale(32, 4, vx, vw, codes);
  for (int lane = 0; lane < kLanes; lane++) start[first + lane / 8][lane % 8] = found[lane];
}

// Weights of all values of a batch, [super-block][value].
inline void weigh_batch(const SuperBatch& batch, float sigma_factor, bool widened, float (*w)[kSuper]) {
  float squares[kLanes];
  sums_of_squares(batch, squares);
  for (int b = 0; b < kLanes; b++) {
    const float sigma2 = sigma_factor * squares[b] / static_cast<float>(kSuper);
    for (int i = 0; i < kSuper; i++) {
      const float square = batch.x[b][i] * batch.x[b][i];
      w[b][i] = batch.w[b] != nullptr ? batch.w[b][i] * __builtin_sqrtf(sigma2 + square)
                : widened             ? 0.25f * sigma2 + square
                                      : square;
    }
  }
}

// d, and the odd integer scales of the blocks, each in four bits.
template <int kBlocks>
inline uint16_t grid_scales(const GridScale* found, float fudge, int most, int* integers) {
  float largest = 0.0f;
  for (int j = 0; j < kBlocks; j++) largest = largest > found[j].scale ? largest : found[j].scale;
  if (largest == 0.0f) return 0;
  const float d = largest / static_cast<float>(2 * most + 1), inverse = 1.0f / d;
  for (int j = 0; j < kBlocks; j++)
    integers[j] = within(nearest_one(0.5f * (inverse * found[j].scale - 1.0f)), 0, most);
  return to_half(fudge == 1.0f ? d : d * fudge);
}

template <const GridForm& form, typename Put>
inline void encode_grid(const SuperBatch& batch, const Put& put) {
  const Grid* g = grid(form.book);
  if (g == nullptr) return;
  constexpr int kBlocks = kSuper / form.n;
  alignas(64) float w[kLanes][kSuper];
  weigh_batch(batch, form.sigma_factor, form.book == Book::iq2_s, w);
  float start[kLanes][8];
  if (form.fitted_start) {
    for (int b = 0; b < batch.count; b += 2) unsigned_starts(batch, b, w, start);
  }
  for (int b = 0; b < batch.count; b++) {
    GridScale found[kBlocks];
    int integers[kBlocks] = {0};
    for (int j = 0; j < kBlocks; j++)
      fit_grid_block<form>(*g, batch.x[b] + form.n * j, w[b] + form.n * j, form.fitted_start ? start[b][j] : 0.0f,
                           &found[j]);
    const uint16_t d = grid_scales<kBlocks>(found, form.fudge, 15, integers);
    bool empty = true;
    for (int j = 0; j < kBlocks; j++) empty = empty && found[j].scale == 0.0f;
    put(b, found, integers, d, empty);
  }
}

inline uint32_t signs_and_scale(const GridScale& found, int scale) {
  return static_cast<uint32_t>(found.signs[0]) | static_cast<uint32_t>(found.signs[1]) << 7 |
         static_cast<uint32_t>(found.signs[2]) << 14 | static_cast<uint32_t>(found.signs[3]) << 21 |
         static_cast<uint32_t>(scale) << 28;
}

inline void encode_iq2_xxs(const SuperBatch& batch, uint8_t* out) {
  BlockIQ2_XXS* blocks = (BlockIQ2_XXS*)out;
  encode_grid<kIQ2XXS>(batch, [&](int b, const GridScale* found, const int* scales, uint16_t d, bool empty) {
    __builtin_memset(&blocks[b], 0, sizeof blocks[b]);
    if (empty) return;
    blocks[b].d = d;
    for (int j = 0; j < 8; j++) {
      for (int k = 0; k < 4; k++) blocks[b].qs[8 * j + k] = static_cast<uint8_t>(found[j].entries[k]);
      const uint32_t word = signs_and_scale(found[j], scales[j]);
      __builtin_memcpy(blocks[b].qs + 8 * j + 4, &word, 4);
    }
  });
}

inline void encode_iq2_xs(const SuperBatch& batch, uint8_t* out) {
  BlockIQ2_XS* blocks = (BlockIQ2_XS*)out;
  encode_grid<kIQ2XS>(batch, [&](int b, const GridScale* found, const int* scales, uint16_t d, bool empty) {
    __builtin_memset(&blocks[b], 0, sizeof blocks[b]);
    if (empty) return;
    blocks[b].d = d;
    for (int j = 0; j < 16; j++) {
      for (int k = 0; k < 2; k++)
        blocks[b].qs[2 * j + k] = static_cast<uint16_t>(found[j].entries[k] | found[j].signs[k] << 9);
      blocks[b].scales[j / 2] = static_cast<uint8_t>(blocks[b].scales[j / 2] | scales[j] << (4 * (j % 2)));
    }
  });
}

inline void encode_iq2_s(const SuperBatch& batch, uint8_t* out) {
  BlockIQ2_S* blocks = (BlockIQ2_S*)out;
  encode_grid<kIQ2S>(batch, [&](int b, const GridScale* found, const int* scales, uint16_t d, bool empty) {
    __builtin_memset(&blocks[b], 0, sizeof blocks[b]);
    if (!empty) blocks[b].d = d;
    for (int j = 0; j < 16; j++) {
      for (int k = 0; k < 2; k++) {
        const int t = 2 * j + k;
        blocks[b].qs[t] = static_cast<uint8_t>(found[j].entries[k]);
        blocks[b].qh[t / 4] = static_cast<uint8_t>(blocks[b].qh[t / 4] | found[j].entries[k] >> 8 << (2 * (t % 4)));
        blocks[b].signs[t] = found[j].signs[k];
      }
      blocks[b].scales[j / 2] = static_cast<uint8_t>(blocks[b].scales[j / 2] | scales[j] << (4 * (j % 2)));
    }
  });
}

inline void encode_iq3_xxs(const SuperBatch& batch, uint8_t* out) {
  BlockIQ3_XXS* blocks = (BlockIQ3_XXS*)out;
  encode_grid<kIQ3XXS>(batch, [&](int b, const GridScale* found, const int* scales, uint16_t d, bool empty) {
    __builtin_memset(&blocks[b], 0, sizeof blocks[b]);
    if (empty) return;
    blocks[b].d = d;
    for (int j = 0; j < 8; j++) {
      for (int k = 0; k < 8; k++) blocks[b].qs[8 * j + k] = static_cast<uint8_t>(found[j].entries[k]);
      const uint32_t word = signs_and_scale(found[j], scales[j]);
      __builtin_memcpy(blocks[b].words + 4 * j, &word, 4);
    }
  });
}

inline void encode_iq3_s(const SuperBatch& batch, uint8_t* out) {
  BlockIQ3_S* blocks = (BlockIQ3_S*)out;
  encode_grid<kIQ3S>(batch, [&](int b, const GridScale* found, const int* scales, uint16_t d, bool empty) {
    __builtin_memset(&blocks[b], 0, sizeof blocks[b]);
    if (!empty) blocks[b].d = d;
    for (int j = 0; j < 8; j++) {
      for (int k = 0; k < 8; k++) {
        blocks[b].qs[8 * j + k] = static_cast<uint8_t>(found[j].entries[k]);
        blocks[b].qh[j] = static_cast<uint8_t>(blocks[b].qh[j] | found[j].entries[k] >> 8 << k);
      }
      for (int k = 0; k < 4; k++) blocks[b].signs[4 * j + k] = found[j].signs[k];
      blocks[b].scales[j / 2] = static_cast<uint8_t>(blocks[b].scales[j / 2] | scales[j] << (4 * (j % 2)));
    }
  });
}

}  // namespace
}  // namespace hw
