// From rows to batches of sixteen blocks.
namespace hw {
namespace {

template <void (*encode)(const SuperBatch&, uint8_t*), int kBytes>
HW_APART void encode_super(const EncodeRows& rows) {
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
HW_APART void mean_squares(const EncodeRows& rows, int64_t from, int count, float* out) {
  float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
  const float* x[8];
  for (int r = 0; r < 8; r++) x[r] = rows.x + (from + (r < count ? r : 0)) * rows.cols;
  for (int64_t i = 0; i < rows.cols; i++) {
    for (int r = 0; r < 8; r++) sum[r] += x[r][i] * x[r][i];
  }
  for (int r = 0; r < count; r++) out[r] = sum[r] / static_cast<float>(rows.cols);
}

template <void (*encode)(const Batch&, uint8_t*), int kValues, int kBytes>
HW_APART void encode_small(const EncodeRows& rows) {
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
}  // namespace hw
