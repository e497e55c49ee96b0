// The types whose every value has a code of its own: how a block says its steps, value = a * code + b, and takes codes.
namespace hw {
namespace {

// Beside the scales as found, those times these. An F16 scale holds them apart.
constexpr float kScales[] = {1.0f, 0.96f, 1.04f};

inline void scale_half(uint16_t* d, int trial) { *d = to_half(half_to_float(*d) * kScales[trial]); }

template <typename Form, int kTypeBytes, int kSubValues, int kLowest, int kHighest, int kBlock = kSuper>
struct Scalar {
  static constexpr int kBytes = kTypeBytes, kSub = kSubValues, kLow = kLowest, kHigh = kHighest, kChunk = kBlock;
  static constexpr int kTrials = 1;
  static constexpr bool kUneven = false;
  static void code(const Chunk& chunk, const float* factor, int64_t n, F* e, uint8_t (*blocks)[kTypeBytes]) {
    choose_codes<Form>(chunk, factor, n, e, blocks);
  }
};

struct Form4_0 : Scalar<Form4_0, 18, 32, -8, 7, 32> {
  static void encode(const EncodeRows& rows) { encode_small<encode_q4_0, 32, 18>(rows); }
  static void steps(const uint8_t* from, float* a, float* b) {
    a[0] = half_to_float(((const BlockQ4_0*)from)->d);
    b[0] = 0.0f;
  }
  static void rescale(int trial, uint8_t* to) { scale_half(&((BlockQ4_0*)to)->d, trial); }
  static void put(const uint8_t* codes, uint8_t* to) { nibbles_of_32(codes, ((BlockQ4_0*)to)->qs); }
};

struct Form5_0 : Scalar<Form5_0, 22, 32, -16, 15, 32> {
  static void encode(const EncodeRows& rows) { encode_small<encode_q5_0, 32, 22>(rows); }
  static void steps(const uint8_t* from, float* a, float* b) {
    a[0] = half_to_float(((const BlockQ5_0*)from)->d);
    b[0] = 0.0f;
  }
  static void rescale(int trial, uint8_t* to) { scale_half(&((BlockQ5_0*)to)->d, trial); }
  static void put(const uint8_t* codes, uint8_t* to) {
    nibbles_of_32(codes, ((BlockQ5_0*)to)->qs);
    fifth_bits(codes, ((BlockQ5_0*)to)->qh);
  }
};

struct Form8_0 : Scalar<Form8_0, 34, 32, -127, 127, 32> {
  static void encode(const EncodeRows& rows) { encode_small<encode_q8_0, 32, 34>(rows); }
  static void steps(const uint8_t* from, float* a, float* b) {
    a[0] = half_to_float(((const BlockQ8_0*)from)->d);
    b[0] = 0.0f;
  }
  static void rescale(int trial, uint8_t* to) { scale_half(&((BlockQ8_0*)to)->d, trial); }
  static void put(const uint8_t* codes, uint8_t* to) {
    for (int i = 0; i < 32; i++) ((BlockQ8_0*)to)->qs[i] = static_cast<int8_t>(codes[i] - 127);
  }
};

struct Form4_1 : Scalar<Form4_1, 20, 32, 0, 15, 32> {
  static void encode(const EncodeRows& rows) { encode_small<encode_q4_1, 32, 20>(rows); }
  static void steps(const uint8_t* from, float* a, float* b) {
    a[0] = half_to_float(((const BlockQ4_1*)from)->d);
    b[0] = half_to_float(((const BlockQ4_1*)from)->m);
  }
  static void rescale(int trial, uint8_t* to) { scale_half(&((BlockQ4_1*)to)->d, trial); }
  static void put(const uint8_t* codes, uint8_t* to) { nibbles_of_32(codes, ((BlockQ4_1*)to)->qs); }
};

struct Form5_1 : Scalar<Form5_1, 24, 32, 0, 31, 32> {
  static void encode(const EncodeRows& rows) { encode_small<encode_q5_1, 32, 24>(rows); }
  static void steps(const uint8_t* from, float* a, float* b) {
    a[0] = half_to_float(((const BlockQ5_1*)from)->d);
    b[0] = half_to_float(((const BlockQ5_1*)from)->m);
  }
  static void rescale(int trial, uint8_t* to) { scale_half(&((BlockQ5_1*)to)->d, trial); }
  static void put(const uint8_t* codes, uint8_t* to) {
    nibbles_of_32(codes, ((BlockQ5_1*)to)->qs);
    fifth_bits(codes, ((BlockQ5_1*)to)->qh);
  }
};

struct Form4NL : Scalar<Form4NL, 18, 32, 0, 15, 32> {
  static constexpr bool kUneven = true;
  static void encode(const EncodeRows& rows) { encode_small<encode_iq4_nl, 32, 18>(rows); }
  static void steps(const uint8_t* from, float* a, float* b) {
    a[0] = half_to_float(((const BlockIQ4_NL*)from)->d);
    b[0] = 0.0f;
  }
  static void rescale(int trial, uint8_t* to) { scale_half(&((BlockIQ4_NL*)to)->d, trial); }
  static void put(const uint8_t* codes, uint8_t* to) { nibbles_of_32(codes, ((BlockIQ4_NL*)to)->qs); }
};

struct Form4XS : Scalar<Form4XS, 136, 32, 0, 15> {
  static constexpr bool kUneven = true;
  static void encode(const EncodeRows& rows) { encode_super<encode_iq4_xs, 136>(rows); }
  static void steps(const uint8_t* from, float* a, float* b) {
    const BlockIQ4_XS& block = *(const BlockIQ4_XS*)from;
    for (int j = 0; j < 8; j++) {
      const int s = (block.scales_l[j / 2] >> (4 * (j % 2)) & 15) | (block.scales_h >> (2 * j) & 3) << 4;
      a[j] = half_to_float(block.d) * static_cast<float>(s - 32);
      b[j] = 0.0f;
    }
  }
  static void rescale(int trial, uint8_t* to) { scale_half(&((BlockIQ4_XS*)to)->d, trial); }
  static void put(const uint8_t* codes, uint8_t* to) {
    for (int j = 0; j < 8; j++) nibbles_of_32(codes + 32 * j, ((BlockIQ4_XS*)to)->qs + 16 * j);
  }
};

struct Form2K : Scalar<Form2K, 84, 16, 0, 3> {
  static void encode(const EncodeRows& rows) { encode_super<encode_q2_k, 84>(rows); }
  static void steps(const uint8_t* from, float* a, float* b) {
    const BlockQ2_K& block = *(const BlockQ2_K*)from;
    for (int j = 0; j < 16; j++) {
      a[j] = half_to_float(block.d) * static_cast<float>(block.scales[j] & 15);
      b[j] = -half_to_float(block.dmin) * static_cast<float>(block.scales[j] >> 4);
    }
  }
  static void rescale(int trial, uint8_t* to) { scale_half(&((BlockQ2_K*)to)->d, trial); }
  static void put(const uint8_t* codes, uint8_t* to) { pack_two_bits(codes, ((BlockQ2_K*)to)->qs); }
};

// Eight steps of pairs of six bits.
inline void steps_of_pairs(const uint8_t* scales, uint16_t d, uint16_t dmin, float* a, float* b) {
  for (int j = 0; j < 8; j++) {
    const int s = j < 4 ? scales[j] & 63 : (scales[j + 4] & 15) | scales[j - 4] >> 6 << 4;
    const int m = j < 4 ? scales[j + 4] & 63 : scales[j + 4] >> 4 | scales[j] >> 6 << 4;
    a[j] = half_to_float(d) * static_cast<float>(s);
    b[j] = -half_to_float(dmin) * static_cast<float>(m);
  }
}

struct Form4K : Scalar<Form4K, 144, 32, 0, 15> {
  static void encode(const EncodeRows& rows) { encode_super<encode_q4_k, 144>(rows); }
  static void steps(const uint8_t* from, float* a, float* b) {
    const BlockQ4_K& block = *(const BlockQ4_K*)from;
    steps_of_pairs(block.scales, block.d, block.dmin, a, b);
  }
  static void rescale(int trial, uint8_t* to) { scale_half(&((BlockQ4_K*)to)->d, trial); }
  static void put(const uint8_t* codes, uint8_t* to) { pack_nibbles(codes, ((BlockQ4_K*)to)->qs); }
};

struct Form5K : Scalar<Form5K, 176, 32, 0, 31> {
  static void encode(const EncodeRows& rows) { encode_super<encode_q5_k, 176>(rows); }
  static void steps(const uint8_t* from, float* a, float* b) {
    const BlockQ5_K& block = *(const BlockQ5_K*)from;
    steps_of_pairs(block.scales, block.d, block.dmin, a, b);
  }
  static void rescale(int trial, uint8_t* to) { scale_half(&((BlockQ5_K*)to)->d, trial); }
  static void put(const uint8_t* codes, uint8_t* to) {
    pack_nibbles(codes, ((BlockQ5_K*)to)->qs);
    pack_high_bits(codes, 4, ((BlockQ5_K*)to)->qh);
  }
};

struct Form3K : Scalar<Form3K, 110, 16, -4, 3> {
  static void encode(const EncodeRows& rows) { encode_super<encode_q3_k, 110>(rows); }
  static void steps(const uint8_t* from, float* a, float* b) {
    const BlockQ3_K& block = *(const BlockQ3_K*)from;
    for (int j = 0; j < 16; j++) {
      const int low = block.scales[j % 8] >> (j < 8 ? 0 : 4) & 15, high = block.scales[8 + j % 4] >> (2 * (j / 4)) & 3;
      a[j] = half_to_float(block.d) * static_cast<float>((low | high << 4) - 32);
      b[j] = 0.0f;
    }
  }
  static void rescale(int trial, uint8_t* to) { scale_half(&((BlockQ3_K*)to)->d, trial); }
  static void put(const uint8_t* codes, uint8_t* to) {
    uint8_t low[kSuper];
    for (int i = 0; i < kSuper; i++) low[i] = codes[i] & 3;
    pack_high_bits(codes, 2, ((BlockQ3_K*)to)->hmask);
    pack_two_bits(low, ((BlockQ3_K*)to)->qs);
  }
};

struct Form6K : Scalar<Form6K, 210, 16, -32, 31> {
  static void encode(const EncodeRows& rows) { encode_super<encode_q6_k, 210>(rows); }
  static void steps(const uint8_t* from, float* a, float* b) {
    const BlockQ6_K& block = *(const BlockQ6_K*)from;
    for (int j = 0; j < 16; j++) {
      a[j] = half_to_float(block.d) * static_cast<float>(block.scales[j]);
      b[j] = 0.0f;
    }
  }
  static void rescale(int trial, uint8_t* to) { scale_half(&((BlockQ6_K*)to)->d, trial); }
  static void put(const uint8_t* codes, uint8_t* to) {
    pack_six_bits(codes, ((BlockQ6_K*)to)->ql, ((BlockQ6_K*)to)->qh);
  }
};

}  // namespace
}  // namespace hw
