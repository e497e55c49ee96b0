// Codes chosen column by column under scales that are found when their super-block is reached, from what the values
// have become by then. Sixteen rows side by side; every sum has one order, whatever the registers.
namespace hw {
namespace {

// What a chunk of columns is for sixteen rows, in the order of the factor.
struct Chunk {
  int first;  // of the block
  F original[kSuper], wanted[kSuper], error[kSuper];
  uint8_t place[kSuper];  // in the natural order
};

// The nearest code of a * code + b and its value.
template <typename Form>
HW_LANES void choose(F x, F a, F b, F inverse, I* code, F* value) {
  if (Form::kUneven) {
    F q;
    nearest_uneven(x * inverse, code, &q);
    *value = a * q;
    return;
  }
  F at = (x - b) * inverse;
  at = at == at ? at : F{};
  at = at < static_cast<float>(Form::kLow) ? spread(Form::kLow) : at;
  at = at > static_cast<float>(Form::kHigh) ? spread(Form::kHigh) : at;
  const I c = nearest(at);
  *value = a * to_float(c) + b;
  *code = c - Form::kLow;
}

// One pass over the columns of a chunk under given steps, [sub-block]. `e`: errors of the block, those of this chunk
// are written. Returns what they weigh.
template <typename Form>
HW_APART F pass(const Chunk& chunk, const F* a, const F* b, const float* factor, int64_t n, F* e,
                uint8_t (*codes)[16]) {
  F inverse[kSuper / 16], weight = F{};
  for (int s = 0; s < Form::kChunk / Form::kSub; s++) inverse[s] = reciprocal(a[s]);
  for (int k0 = 0; k0 < Form::kChunk; k0 += kFeedbackRows) {
    const int64_t at = chunk.first + k0;
    const float* panel = factor + at / 16 * (n * 16);
    F x[kFeedbackRows];
    for (int m = 0; m < kFeedbackRows; m++) x[m] = chunk.wanted[k0 + m];
    take_over(e, chunk.first, at, panel, x);
    for (int m = 0; m < kFeedbackRows; m++) {
      const int place = chunk.place[k0 + m], sub = place / Form::kSub;
      I code;
      F value;
      const F wanted = or_original(x[m], chunk.original[k0 + m]);
      choose<Form>(wanted, a[sub], b[sub], inverse[sub], &code, &value);
      const float* c = panel + (at + m) * 16;
      const F lost = wanted - value, error = chunk.original[k0 + m] - value;
      weight += lost * lost * c[m];
      e[at + m] = error;
      for (int l = m + 1; l < kFeedbackRows; l++) x[l] += error * c[l];
      const Bytes16 bytes = __builtin_convertvector(code, Bytes16);
      __builtin_memcpy(codes[place], &bytes, 16);
    }
  }
  return weight;
}

template <int kChunk>
HW_APART void begin_chunk(const FeedbackRows& job, const float* const* x, int64_t block, int64_t first,
                          const float* factor, const F* e, Chunk* chunk, float* natural) {
  const int64_t column = block * job.block + first;
  chunk->first = static_cast<int>(first);
  for (int k = 0; k < kChunk; k++) {
    const int64_t from = job.order[column + k];
    chunk->place[k] = static_cast<uint8_t>(from - column);
    for (int lane = 0; lane < kFeedbackRows; lane++) chunk->original[k][lane] = x[lane][from];
    chunk->wanted[k] = chunk->original[k];
  }
  for (int k0 = 0; k0 < kChunk; k0 += kFeedbackRows)
    take_over(e, 0, first, factor + (first + k0) / 16 * (job.block * 16), chunk->wanted + k0);
  for (int k = 0; k < kChunk; k++) {
    chunk->wanted[k] = or_original(chunk->wanted[k], chunk->original[k]);
    for (int lane = 0; lane < kFeedbackRows; lane++)
      natural[lane * kChunk + chunk->place[k]] = chunk->wanted[k][lane];
  }
}

// Under the scales of the plain search, and those times each factor: whichever loses least.
template <typename Form>
inline void choose_codes(const Chunk& chunk, const float* factor, int64_t n, F* e, uint8_t (*blocks)[Form::kBytes]) {
  constexpr int kSubs = Form::kChunk / Form::kSub;
  F least = F{}, best[kSuper];
  uint8_t codes[kSuper][16], kept[kSuper][16];
  uint8_t tried[kFeedbackRows][Form::kBytes];
  int chosen[kFeedbackRows] = {0};
  for (int trial = 0; trial < Form::kTrials; trial++) {
    F a[kSubs], b[kSubs];
    for (int lane = 0; lane < kFeedbackRows; lane++) {
      float as[kSubs], bs[kSubs];
      __builtin_memcpy(tried[lane], blocks[lane], Form::kBytes);
      if (trial != 0) Form::rescale(trial, tried[lane]);
      Form::steps(tried[lane], as, bs);
      for (int s = 0; s < kSubs; s++) a[s][lane] = as[s], b[s][lane] = bs[s];
    }
    const F weight = pass<Form>(chunk, a, b, factor, n, e, codes);
    const I better = trial == 0 ? I{} - 1 : weight < least;
    least = better ? weight : least;
    for (int k = 0; k < Form::kChunk; k++) best[k] = better ? e[chunk.first + k] : best[k];
    for (int lane = 0; lane < kFeedbackRows; lane++) {
      if (better[lane] == 0) continue;
      chosen[lane] = trial;
      for (int k = 0; k < Form::kChunk; k++) kept[k][lane] = codes[k][lane];
    }
  }
  for (int k = 0; k < Form::kChunk; k++) e[chunk.first + k] = best[k];
  for (int lane = 0; lane < kFeedbackRows; lane++) {
    uint8_t of_row[kSuper];
    for (int k = 0; k < Form::kChunk; k++) of_row[k] = kept[k][lane];
    if (chosen[lane] != 0) Form::rescale(chosen[lane], blocks[lane]);
    Form::put(of_row, blocks[lane]);
  }
}

template <typename Form>
void with_feedback(const FeedbackRows& job) {
  const EncodeRows& rows = job.rows;
  const int64_t row_bytes = rows.cols / Form::kChunk * Form::kBytes;
  F* e = (F*)job.scratch;
  Chunk& chunk = *(Chunk*)(job.scratch + kFeedbackRows * job.block);
  alignas(64) float natural[kFeedbackRows * Form::kChunk];
  uint8_t blocks[kFeedbackRows][Form::kBytes];
  for (int64_t row = 0; row < rows.rows; row += kFeedbackRows) {
    const float* x[kFeedbackRows];
    const int count = static_cast<int>(rows.rows - row < kFeedbackRows ? rows.rows - row : kFeedbackRows);
    for (int lane = 0; lane < kFeedbackRows; lane++)
      x[lane] = rows.x + (row + (lane < count ? lane : count - 1)) * rows.cols;
    for (int64_t block = 0; block < rows.cols / job.block; block++) {
      const float* factor = job.factor + block * job.block * job.block;
      for (int64_t first = 0; first < job.block; first += Form::kChunk) {
        const int64_t column = block * job.block + first;
        begin_chunk<Form::kChunk>(job, x, block, first, factor, e, &chunk, natural);
        Form::encode({natural, kFeedbackRows, Form::kChunk, rows.w + column, blocks[0]});
        Form::code(chunk, factor, job.block, e, blocks);
        for (int lane = 0; lane < count; lane++)
          __builtin_memcpy(rows.out + (row + lane) * row_bytes + column / Form::kChunk * Form::kBytes, blocks[lane],
                           Form::kBytes);
      }
    }
  }
}

}  // namespace
}  // namespace hw
