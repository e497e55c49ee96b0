// From rows to batches of sixteen blocks.
namespace hw {
namespace {

template <void (*encode)(const SuperBatch&, uint8_t*), int kBytes>
void encode_super(const EncodeRows& rows) {
  const int64_t per_row = rows.cols / kSuper, total = rows.rows * per_row;
  for (int64_t first = 0; first < total; first += kLanes) {
    SuperBatch batch;
    batch.count = static_cast<int>(total - first < kLanes ? total - first : kLanes);
    for (int b = 0; b < kLanes; b++) {
      const int64_t at = first + (b < batch.count ? b : batch.count - 1);
      batch.x[b] = rows.x + at * kSuper;
      batch.w[b] = rows.w == nullptr ? nullptr : rows.w + at % per_row * kSuper;
    }
    encode(batch, rows.out + first * kBytes);
  }
}

// Mean squares of the rows, each added up value by value.
inline void mean_squares(const EncodeRows& rows, int64_t from, int count, float* out) {
  float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  const float* x[8];
  for (int r = 0; r < 8; r++) x[r] = rows.x + (from + (r < count ? r : 0)) * rows.cols;
  for (int64_t i = 0; i < rows.cols; i++) {
    for (int r = 0; r < 8; r++) sum[r] += x[r][i] * x[r][i];
  }
  for (int r = 0; r < count; r++) out[r] = sum[r] / static_cast<float>(rows.cols);
}

template <void (*encode)(const Batch&, uint8_t*), int kValues, int kBytes>
void encode_small(const EncodeRows& rows) {
  const int64_t per_row = rows.cols / kValues;
  // Eight rows at a time, whose mean squares are known.
  for (int64_t row = 0; row < rows.rows; row += 8) {
    const int count = static_cast<int>(rows.rows - row < 8 ? rows.rows - row : 8);
    float squares[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    if (rows.w != nullptr) mean_squares(rows, row, count, squares);
    const int64_t total = count * per_row;
    for (int64_t first = 0; first < total; first += kLanes) {
      Batch batch;
      batch.count = static_cast<int>(total - first < kLanes ? total - first : kLanes);
      for (int b = 0; b < kLanes; b++) {
        const int64_t at = first + (b < batch.count ? b : batch.count - 1);
        batch.x[b] = rows.x + (row * per_row + at) * kValues;
        batch.w[b] = rows.w == nullptr ? nullptr : rows.w + at % per_row * kValues;
        batch.sigma2[b] = squares[at / per_row];
      }
      encode(batch, rows.out + (row * per_row + first) * kBytes);
    }
  }
}

}  // namespace

static void fill_encoders(Encoders* e) {
  e->encode[Q4_0] = encode_small<encode_q4_0, 32, 18>;
  e->encode[Q4_1] = encode_small<encode_q4_1, 32, 20>;
  e->encode[Q5_0] = encode_small<encode_q5_0, 32, 22>;
  e->encode[Q5_1] = encode_small<encode_q5_1, 32, 24>;
  e->encode[Q8_0] = encode_small<encode_q8_0, 32, 34>;
  e->encode[IQ4_NL] = encode_small<encode_iq4_nl, 32, 18>;
  e->encode[MXFP4] = encode_small<encode_mxfp4, 32, 17>;
  e->encode[NVFP4] = encode_small<encode_nvfp4, 64, 36>;
  e->encode[Q1_0] = encode_small<encode_q1_0, 128, 18>;
  e->encode[Q2_0] = encode_small<encode_q2_0, 64, 18>;
  e->encode[TQ1_0] = encode_super<encode_tq1_0, 54>;
  e->encode[TQ2_0] = encode_super<encode_tq2_0, 66>;
  e->encode[Q2_K] = encode_super<encode_q2_k, 84>;
  e->encode[Q3_K] = encode_super<encode_q3_k, 110>;
  e->encode[Q4_K] = encode_super<encode_q4_k, 144>;
  e->encode[Q5_K] = encode_super<encode_q5_k, 176>;
  e->encode[Q6_K] = encode_super<encode_q6_k, 210>;
  e->encode[IQ4_XS] = encode_super<encode_iq4_xs, 136>;
  e->encode[IQ2_XXS] = encode_super<encode_iq2_xxs, 66>;
  e->encode[IQ2_XS] = encode_super<encode_iq2_xs, 74>;
  e->encode[IQ2_S] = encode_super<encode_iq2_s, 82>;
  e->encode[IQ3_XXS] = encode_super<encode_iq3_xxs, 98>;
  e->encode[IQ3_S] = encode_super<encode_iq3_s, 110>;
  e->encode[IQ1_S] = encode_super<encode_iq1_s, 50>;
  e->encode[IQ1_M] = encode_super<encode_iq1_m, 56>;
}

}  // namespace hw
