// The same for IQ2 and IQ3, whose values come four or eight at a time from a code book: every entry is tried, and what
// its first values get wrong its later ones have to make good.
namespace hw {
namespace {

// What a super-block of sixteen rows becomes; entries and signs of eight values in the order of the file.
struct GridCodes {
  uint16_t entries[kSuper / 4][kFeedbackRows];
  uint8_t signs[kSuper / 8][kFeedbackRows];
};

// The entry that loses least for `values` columns of a panel from column m on. `x`: what those of the panel are to be
// so far. Signs are those of what each value is to be, or `fixed` ones.
template <int values, bool even_signs>
inline void choose_entry(const Grid& g, const F* x, const F* original, const float* c, int m, F a, const I* fixed, F* e,
                         I* entry, I* minus, F* lost) {
  F least = spread(3.402823466e+38f);
  I found = I{}, signs = I{};
  for (int i = 0; i < g.count; i++) {
    const float* magnitudes = g.decoded + i * values;
    F sum = F{}, wanted[values];
    I negative = I{};
    HW_UNROLL
    for (int k = 0; k < values; k++) wanted[k] = x[m + k];
    HW_UNROLL
    for (int k = 0; k < values; k++) {
      const F size = a * magnitudes[k];
      const I below = even_signs ? fixed[k] : (I)(wanted[k] < 0.0f);
      const F value = below ? -size : size;
      const F diff = wanted[k] - value, error = original[k] - value;
      const float* row = c + (m + k) * 16 + m;
      sum += diff * diff * row[k];
      HW_UNROLL
      for (int l = k + 1; l < values; l++) wanted[l] += error * row[l];
      negative |= below & (1 << k);
    }
    const I better = sum < least;
    least = better ? sum : least;
    found = better ? I{} + i : found;
    signs = better ? negative : signs;
  }
  *entry = found;
  *minus = signs;
  *lost += least;
  for (int k = 0; k < values; k++) {
    F size;
    for (int lane = 0; lane < kFeedbackRows; lane++) size[lane] = g.decoded[found[lane] * values + k];
    size *= a;
    e[k] = original[k] - ((signs & (1 << k)) != 0 ? -size : size);
  }
}

// Signs of eight values with an even number of minuses: where it would be odd the value that matters least changes.
inline void even_signs_of(const F* x, const float* c, int m, I* minus) {
  I odd = I{}, which = I{};
  F least = spread(3.402823466e+38f);
  for (int k = 0; k < 8; k++) {
    minus[k] = x[m + k] < 0.0f;
    odd ^= minus[k];
    const F matters = x[m + k] * x[m + k] * c[(m + k) * 16 + m + k];
    const I less = matters < least;
    least = less ? matters : least;
    which = less ? I{} + k : which;
  }
  for (int k = 0; k < 8; k++) minus[k] ^= odd & (which == k);
}

template <typename Form>
HW_APART F grid_pass(const Grid& g, const Chunk& chunk, const F* a, const float* factor, int64_t n, F* e,
                   GridCodes* codes) {
  constexpr int values = values_of(Form::kBook);
  F lost = F{};
  for (int k0 = 0; k0 < kSuper; k0 += kFeedbackRows) {
    const int64_t at = chunk.first + k0;
    const float* panel = factor + at / 16 * (n * 16);
    const float* c = panel + at * 16;
    F x[kFeedbackRows];
    for (int m = 0; m < kFeedbackRows; m++) x[m] = chunk.wanted[k0 + m];
    take_over(e, chunk.first, at, panel, x);
    for (int m = 0; m < kFeedbackRows; m++) x[m] = or_original(x[m], chunk.original[k0 + m]);
    for (int half = 0; half < kFeedbackRows; half += 8) {
      I fixed[8], all = I{};
      const int place = chunk.place[k0 + half];
      if (Form::kEvenSigns) even_signs_of(x, c, half, fixed);
      for (int m = half; m < half + 8; m += values) {
        I entry, minus;
        choose_entry<values, Form::kEvenSigns>(g, x, chunk.original + k0 + m, c, m, a[place / Form::kSub],
                                               fixed + m - half, e + at + m, &entry, &minus, &lost);
        all |= minus << (m - half);
        for (int lane = 0; lane < kFeedbackRows; lane++)
          codes->entries[(place + m - half) / values][lane] = static_cast<uint16_t>(entry[lane]);
        for (int k = m; k < m + values; k++) {
          for (int l = m + values; l < kFeedbackRows; l++) x[l] += e[at + k] * c[k * 16 + l];
        }
        for (int l = m + values; l < kFeedbackRows; l++) x[l] = or_original(x[l], chunk.original[k0 + l]);
      }
      for (int lane = 0; lane < kFeedbackRows; lane++)
        codes->signs[place / 8][lane] = static_cast<uint8_t>(all[lane]);
    }
  }
  return lost;
}

template <typename Form>
inline void choose_entries(const Chunk& chunk, const float* factor, int64_t n, F* e, uint8_t (*blocks)[Form::kBytes]) {
  const Grid* g = grid(Form::kBook);
  if (g == nullptr) return;
  F least = F{}, best[kSuper];
  GridCodes codes, kept;
  int chosen[kFeedbackRows] = {0};
  for (int trial = 0; trial < Form::kTrials; trial++) {
    F a[kSuper / Form::kSub];
    for (int lane = 0; lane < kFeedbackRows; lane++) {
      uint8_t tried[Form::kBytes];
      float as[kSuper / Form::kSub];
      __builtin_memcpy(tried, blocks[lane], Form::kBytes);
      if (trial != 0) scale_half((uint16_t*)tried, trial);
      Form::steps(tried, as);
      for (int s = 0; s < kSuper / Form::kSub; s++) a[s][lane] = as[s];
    }
    const F lost = grid_pass<Form>(*g, chunk, a, factor, n, e, &codes);
    const I better = trial == 0 ? I{} - 1 : lost < least;
    least = better ? lost : least;
    for (int k = 0; k < kSuper; k++) best[k] = better ? e[chunk.first + k] : best[k];
    for (int lane = 0; lane < kFeedbackRows; lane++) {
      if (better[lane] == 0) continue;
      chosen[lane] = trial;
      for (int k = 0; k < kSuper / values_of(Form::kBook); k++) kept.entries[k][lane] = codes.entries[k][lane];
      for (int k = 0; k < kSuper / 8; k++) kept.signs[k][lane] = codes.signs[k][lane];
    }
  }
  for (int k = 0; k < kSuper; k++) e[chunk.first + k] = best[k];
  for (int lane = 0; lane < kFeedbackRows; lane++) {
    if (chosen[lane] != 0) scale_half((uint16_t*)blocks[lane], chosen[lane]);
    uint16_t entries[kSuper / 4];
    uint8_t signs[kSuper / 8];
    for (int k = 0; k < kSuper / values_of(Form::kBook); k++) entries[k] = kept.entries[k][lane];
    for (int k = 0; k < kSuper / 8; k++) signs[k] = kept.signs[k][lane];
    Form::put(entries, signs, blocks[lane]);
  }
}

template <typename Form, int kTypeBytes, int kSubValues, Book kCodeBook, bool kEven>
struct Gridded {
  static constexpr int kBytes = kTypeBytes, kSub = kSubValues, kChunk = kSuper, kTrials = 1;
  static constexpr Book kBook = kCodeBook;
  static constexpr bool kEvenSigns = kEven;
  static void code(const Chunk& chunk, const float* factor, int64_t n, F* e, uint8_t (*blocks)[kTypeBytes]) {
    choose_entries<Form>(chunk, factor, n, e, blocks);
  }
};

// The signs of 32 values below the four bits of a scale.
inline void put_signs(const uint8_t* signs, uint8_t* to) {
  uint32_t word;
  __builtin_memcpy(&word, to, 4);
  word &= 0xf0000000;
  for (int k = 0; k < 4; k++) word |= static_cast<uint32_t>(signs[k] & 127) << (7 * k);
  __builtin_memcpy(to, &word, 4);
}

struct FormI2XXS : Gridded<FormI2XXS, 66, 32, Book::iq2_xxs, true> {
  static void encode(const EncodeRows& rows) { encode_super<encode_iq2_xxs, 66>(rows); }
  static void steps(const uint8_t* from, float* a) {
    const BlockIQ2_XXS& block = *(const BlockIQ2_XXS*)from;
    for (int j = 0; j < 8; j++)
      a[j] = half_to_float(block.d) * (0.5f + static_cast<float>(block.qs[8 * j + 7] >> 4)) * 0.25f;
  }
  static void put(const uint16_t* entries, const uint8_t* signs, uint8_t* to) {
    BlockIQ2_XXS& block = *(BlockIQ2_XXS*)to;
    for (int j = 0; j < 8; j++) {
      for (int k = 0; k < 4; k++) block.qs[8 * j + k] = static_cast<uint8_t>(entries[4 * j + k]);
      put_signs(signs + 4 * j, block.qs + 8 * j + 4);
    }
  }
};

inline void steps_of_nibbles(const uint8_t* scales, int blocks, float d, float* a) {
  for (int j = 0; j < blocks; j++) a[j] = d * (0.5f + static_cast<float>(scales[j / 2] >> (4 * (j % 2)) & 15)) * 0.25f;
}

struct FormI2XS : Gridded<FormI2XS, 74, 16, Book::iq2_xs, true> {
  static void encode(const EncodeRows& rows) { encode_super<encode_iq2_xs, 74>(rows); }
  static void steps(const uint8_t* from, float* a) {
    const BlockIQ2_XS& block = *(const BlockIQ2_XS*)from;
    steps_of_nibbles(block.scales, 16, half_to_float(block.d), a);
  }
  static void put(const uint16_t* entries, const uint8_t* signs, uint8_t* to) {
    for (int t = 0; t < 32; t++)
      ((BlockIQ2_XS*)to)->qs[t] = static_cast<uint16_t>(entries[t] | (signs[t] & 127) << 9);
  }
};

struct FormI2S : Gridded<FormI2S, 82, 16, Book::iq2_s, false> {
  static void encode(const EncodeRows& rows) { encode_super<encode_iq2_s, 82>(rows); }
  static void steps(const uint8_t* from, float* a) {
    const BlockIQ2_S& block = *(const BlockIQ2_S*)from;
    steps_of_nibbles(block.scales, 16, half_to_float(block.d), a);
  }
  static void put(const uint16_t* entries, const uint8_t* signs, uint8_t* to) {
    BlockIQ2_S& block = *(BlockIQ2_S*)to;
    __builtin_memset(block.qh, 0, sizeof block.qh);
    for (int t = 0; t < 32; t++) {
      block.qs[t] = static_cast<uint8_t>(entries[t]);
      block.qh[t / 4] = static_cast<uint8_t>(block.qh[t / 4] | entries[t] >> 8 << (2 * (t % 4)));
      block.signs[t] = signs[t];
    }
  }
};

struct FormI3XXS : Gridded<FormI3XXS, 98, 32, Book::iq3_xxs, true> {
  static void encode(const EncodeRows& rows) { encode_super<encode_iq3_xxs, 98>(rows); }
  static void steps(const uint8_t* from, float* a) {
    const BlockIQ3_XXS& block = *(const BlockIQ3_XXS*)from;
    for (int j = 0; j < 8; j++)
      a[j] = half_to_float(block.d) * (0.5f + static_cast<float>(block.words[4 * j + 3] >> 4)) * 0.5f;
  }
  static void put(const uint16_t* entries, const uint8_t* signs, uint8_t* to) {
    BlockIQ3_XXS& block = *(BlockIQ3_XXS*)to;
    for (int k = 0; k < 64; k++) block.qs[k] = static_cast<uint8_t>(entries[k]);
    for (int j = 0; j < 8; j++) put_signs(signs + 4 * j, block.words + 4 * j);
  }
};

struct FormI3S : Gridded<FormI3S, 110, 32, Book::iq3_s, false> {
  static void encode(const EncodeRows& rows) { encode_super<encode_iq3_s, 110>(rows); }
  static void steps(const uint8_t* from, float* a) {
    const BlockIQ3_S& block = *(const BlockIQ3_S*)from;
    for (int j = 0; j < 8; j++)
      a[j] = half_to_float(block.d) * static_cast<float>(1 + 2 * (block.scales[j / 2] >> (4 * (j % 2)) & 15));
  }
  static void put(const uint16_t* entries, const uint8_t* signs, uint8_t* to) {
    BlockIQ3_S& block = *(BlockIQ3_S*)to;
    __builtin_memset(block.qh, 0, sizeof block.qh);
    for (int k = 0; k < 64; k++) {
      block.qs[k] = static_cast<uint8_t>(entries[k]);
      block.qh[k / 8] = static_cast<uint8_t>(block.qh[k / 8] | entries[k] >> 8 << (k % 8));
    }
    for (int k = 0; k < 32; k++) block.signs[k] = signs[k];
  }
};

}  // namespace
}  // namespace hw
