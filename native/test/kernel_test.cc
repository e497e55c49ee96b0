// The matmul side of the kernel table against scalar, bit for bit, for every ISA this CPU has: both matmul slots,
// dequantization and activation quantization; and scalar itself against vectors made by another implementation.
//   kernel_test [SEED] [--whole] [--filter TEXT] [--vectors FOLDER]
// TEXT selects names like "matvec q4_k avx2" that contain it. FOLDER holds <type>.{rand,noimat}.{q,f32}.bin,
// index.json. Without --whole: every row and token count and some column counts of each type, in pairs that the seed
// draws.
#include <initializer_list>

#include "kernel_harness.h"
#include "kernels/packed.h"
#include "quant_vectors.h"

namespace hw {
namespace {

constexpr int kMaxRows = 33, kMaxTokens = 65;
const int kRowCounts[] = {1, 2, 3, 5, 16, 17, 33};
const int kTokenCounts[] = {1, 2, 3, 4, 5, 8, 16, 17, 31, 64, 65};

const char* filter = "";

bool selected(const char* slot, const char* type, const char* isa) {
  char name[96];
  snprintf(name, sizeof name, "%s %s %s", slot, type, isa);
  return strstr(name, filter) != nullptr;
}

// Weight rows take turns in what they hold; outputs are independent, so one matrix tests all of it.
//   0, 1 ordinary   2 zeros   3 all bits set or only sign bits: the largest integers   4 scales of any finite bits,
//   subnormal ones too   5 scales NaN or infinite now and then
void fill_weights(const DtypeInfo& info, SampleRng& rng, uint8_t* w, int64_t row, int64_t cols) {
  sample_weights(info, rng, w, cols);
  const int64_t blocks = cols / info.block;
  const int temper = static_cast<int>(row % 6);
  if (temper == 2) memset(w, 0, static_cast<size_t>(blocks * info.bytes));
  for (int64_t b = 0; b < blocks; b++) {
    uint8_t* p = w + b * info.bytes;
    if (info.block == 1) {
      const float f = sample_float(rng, temper < 4 ? 0 : temper == 4 ? 2 : 3);
      const uint32_t bits = float_bits(f);
      const uint16_t half = info.dtype == F16 ? float_to_half(f) : static_cast<uint16_t>(bits >> 16);
      if (temper > 3)
        memcpy(p, info.dtype == F32 ? static_cast<const void*>(&bits) : &half, static_cast<size_t>(info.bytes));
      continue;
    }
    uint8_t scales[4] = {0x12, 0x2a, 0, 0};  // what IQ1_M has in some place of its own
    if (info.scale_at >= 0) memcpy(scales, p + info.scale_at, 2);
    if (info.min_at >= 0) memcpy(scales + 2, p + info.min_at, 2);
    if (temper == 3) memset(p, b % 3 == 0 ? 0x80 : b % 3 == 1 ? 0xff : 0x7f, static_cast<size_t>(info.bytes));
    if (info.dtype == NVFP4) {
      for (int i = 0; i < 4 && temper != 2; i++)
        p[i] = static_cast<uint8_t>(temper == 4 ? rng.below(9) : rng.below(256));
      continue;
    }
    if (info.dtype == MXFP4) {
      p[0] = temper == 4 ? static_cast<uint8_t>(rng.below(3)) : static_cast<uint8_t>(100 + rng.below(60));
      if (temper == 5 && rng.below(4) == 0) p[0] = 255;
      continue;
    }
    for (int i = 0; i < (info.min_at >= 0 ? 2 : 1); i++) {
      uint16_t h;
      memcpy(&h, scales + 2 * i, 2);
      if (temper == 4) h = static_cast<uint16_t>(rng.next() & (rng.below(2) ? 0x83ff : 0xbbff));
      if (temper == 5 && rng.below(4) == 0) h = static_cast<uint16_t>(0x7c00 | (rng.next() & 0x83ff));
      if (temper == 2) continue;
      if (info.dtype == IQ1_M) set_iq1_m_scale(p, h);
      else memcpy(p + (i ? info.min_at : info.scale_at), &h, 2);
    }
  }
}

// A guarded plane with 64-byte aligned rows: `bytes` rounded up to 64, so that the end is still exact to the plane.
struct Plane : Guarded {
  explicit Plane(int64_t bytes) : Guarded(static_cast<size_t>((bytes + 63) / 64 * 64)) {
    memset(as<void>(), 0, this->bytes());
  }
};

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Activation rows of an ISA-independent make: the extremes +-127, zeros, scales of all kinds, float specials.
struct TestActs {
  Plane f32, q, d, sums;
  Acts acts;

  TestActs(SampleRng& rng, const DtypeInfo& info, int32_t rows, int32_t cols)
      : f32(rows * round_up(cols, 16) * 4), q(rows * round_up(cols, 64)), d(rows * (cols / 32 + 1) * 4),
        sums(rows * (cols / 16 + 1) * 2) {
    const int block = info.acts == ACTS_Q8_256 ? 256 : 32;
    acts = {info.acts, rows, cols, f32.as<float>(), q.as<int8_t>(), d.as<float>(), sums.as<int16_t>(),
            round_up(cols, 16), round_up(cols, 64), cols / block, cols / 16};
    for (int32_t t = 0; t < rows; t++) {
      const int temper = t % 7;
      float* x = f32.as<float>() + t * acts.f32_stride;
      for (int32_t i = 0; i < cols; i++) x[i] = sample_float(rng, temper == 5 ? 3 : temper == 6 ? 2 : 0);
      if (info.acts != ACTS_F32) fill_quantized(rng, t, temper, block);
    }
  }

  void fill_quantized(SampleRng& rng, int32_t t, int temper, int block) {
    int8_t* to = q.as<int8_t>() + t * acts.q_stride;
    for (int32_t i = 0; i < acts.cols; i++) {
      const int any = static_cast<int>(rng.below(255)) - 127;
      to[i] = static_cast<int8_t>(temper == 3 ? 0 : temper == 4 ? (t % 2 ? 127 : -127) : any);
    }
    for (int32_t g = 0; g < acts.cols / 16; g++) {
      int sum = 0;
      for (int i = 0; i < 16; i++) sum += to[16 * g + i];
      sums.as<int16_t>()[t * acts.sums_stride + g] = static_cast<int16_t>(sum);
    }
    for (int32_t b = 0; b < acts.cols / block; b++) {
      d.as<float>()[t * acts.d_stride + b] = temper == 5   ? sample_float(rng, 3)
                                             : temper == 6 ? sample_float(rng, 2)
                                                           : rng.uniform();
    }
  }
};

struct Matrix {
  const DtypeInfo& info;
  int32_t cols;
  int64_t row_bytes;
  int32_t rows;
  Guarded bytes;
  // `gap` bytes between rows; the last row ends at the page that may not be read.
  Matrix(SampleRng& rng, const DtypeInfo& type, int32_t row_count, int32_t col_count, int gap)
      : info(type), cols(col_count), row_bytes(col_count / type.block * type.bytes + gap), rows(row_count),
        bytes(static_cast<size_t>(row_bytes * row_count - gap)) {
    memset(bytes.as<void>(), 0xcd, bytes.bytes());
    for (int32_t r = 0; r < rows; r++) fill_weights(info, rng, bytes.as<uint8_t>() + r * row_bytes, r, cols);
  }
  // The last `count` rows, so that every count ends at the guard page.
  const uint8_t* last(int32_t count) { return bytes.as<uint8_t>() + (rows - count) * row_bytes; }
};

struct MatmulTest {
  Report& report;
  SampleRng& rng;
  int64_t cell_count;  // of the output: the most tokens times the most rows and a gap
  Guarded scratch{kScratchBytes};
  Guarded out;

  MatmulTest(Report& r, SampleRng& random, int tokens = kMaxTokens, int rows = kMaxRows)
      : report(r), rng(random), cell_count(static_cast<int64_t>(tokens) * (rows + 3)),
        out(static_cast<size_t>(cell_count) * 4) {}

  // The last `rows` rows of a matrix as `fn` takes them: packed ones have a place of their own, up to a guard page,
  // too.
  struct Weights {
    Guarded packed;
    const uint8_t* w;
    int64_t row_bytes;
    Weights(Matrix& m, int32_t rows, bool pack)
        : packed(static_cast<size_t>(pack ? m.cols / m.info.block * m.info.bytes * rows : 0)),
          w(m.last(rows)),
          row_bytes(m.row_bytes) {
      if (!pack) return;
      pack_rows(m.info, w, m.row_bytes, rows, m.cols, packed.as<uint8_t>());
      w = packed.as<uint8_t>();
      row_bytes = m.cols / m.info.block * m.info.bytes;
    }
  };

  // expected: [tokens][m.rows]. Token t of the call is pick[t] (or t); rows are the last `rows` of m.
  void call(const char* slot, const char* isa, MatmulFn fn, Matrix& m, TestActs& a, const float* expected, int32_t rows,
            const int32_t* pick, int32_t n) {
    const int64_t stride = rows + 3;
    const uint32_t canary = 0x7fc0beef;
    uint32_t* cells = out.as<uint32_t>();
    for (int64_t i = 0; i < cell_count; i++) cells[i] = canary;
    memset(scratch.as<void>(), 0xff, 4096);
    Weights weights(m, rows, !strcmp(slot, "packed"));
    fn(weights.w, weights.row_bytes, rows, m.cols, &a.acts, pick, n, out.as<float>(), stride, scratch.as<void>());
    for (int64_t i = 0; i < cell_count; i++) {
      const int64_t t = i / stride, r = i % stride;
      const bool written = t < n && r < rows;
      const float got = out.as<float>()[i];
      const float want = written ? expected[(pick ? pick[t] : t) * m.rows + m.rows - rows + r] : 0;
      if (written ? same_float(got, want) : cells[i] == canary) continue;
      report.check(false, "%s %s %s rows=%d cols=%d n=%d%s at row %lld token %lld: %a, scalar %a%s", slot, m.info.name,
                   isa, rows, m.cols, n, pick ? " picked" : "", static_cast<long long>(r), static_cast<long long>(t),
                   static_cast<double>(got), static_cast<double>(want), written ? "" : " (written outside)");
      return;
    }
    report.check(scratch.intact() && out.intact(), "%s %s %s: wrote in front of scratch or out", slot, m.info.name,
                 isa);
  }

  template <class Each>
  void shape(const DtypeInfo& info, const Isas& isas, int32_t rows, int32_t cols, int32_t tokens, Each each) {
    Matrix m(rng, info, rows, cols, static_cast<int>(rng.below(2) * rng.below(9)));
    TestActs a(rng, info, tokens, cols);
    float* expected =
        static_cast<float*>(calloc(static_cast<size_t>(rows) * static_cast<size_t>(tokens), sizeof(float)));
    isas.scalar->matvec[info.dtype](m.last(rows), m.row_bytes, rows, cols, &a.acts, nullptr, tokens, expected, rows,
                                    scratch.as<void>());
    for (int i = 0; i < isas.count; i++) {
      const Kernels& k = *isas.others[i];
      if (selected("matvec", info.name, k.isa)) each("matvec", k.isa, k.matvec[info.dtype], m, a, expected);
      if (selected("gemm", info.name, k.isa) && k.gemm[info.dtype] != k.matvec[info.dtype]) {
        each("gemm", k.isa, k.gemm[info.dtype], m, a, expected);
      }
      if (selected("packed", info.name, k.isa) && k.packed[info.dtype] != nullptr) {
        each("packed", k.isa, k.packed[info.dtype], m, a, expected);
      }
    }
    free(expected);
  }

  template <size_t N>
  int drawn(const int (&of)[N]) {
    return of[rng.below(N)];
  }

  // A function of every pair of row and token counts, or of each count once with another that is drawn.
  template <class Call>
  void pairs(Call call) {
    for (int rows : kRowCounts) {
      if (!report.whole) call(rows, drawn(kTokenCounts));
      for (int n : kTokenCounts)
        if (report.whole) call(rows, n);
    }
    for (int n : kTokenCounts)
      if (!report.whole) call(drawn(kRowCounts), n);
  }

  void run(const DtypeInfo& info, const Isas& isas) {
    const int floats[] = {1, 2, 3, 5, 7, 31, 33, 63, 65, 255, 257}, q32[] = {32, 64, 96, 256, 288, 576, 1056};
    const int q128[] = {128, 256, 384, 640, 1152}, q256[] = {256, 512, 1280};
    const int* cols = info.block == 1 ? floats : info.block == 32 ? q32 : info.block == 256 ? q256 : q128;
    const int count = info.block == 1 ? 11 : info.block == 32 ? 7 : info.block == 256 ? 3 : 5;
    const int step = report.whole ? 1 : 3, from = static_cast<int>(rng.below(static_cast<uint32_t>(step)));
    for (int c = from; c < count; c += step) {
      shape(info, isas, kMaxRows, cols[c], kMaxTokens, [&](const char* slot, const char* isa, MatmulFn fn, Matrix& m,
                                                           TestActs& a, const float* expected) {
        pairs([&](int rows, int n) { call(slot, isa, fn, m, a, expected, rows, nullptr, n); });
        const int picked[] = {1, 3, 9};
        for (int rows : kRowCounts) {
          int32_t pick[9];
          for (int32_t& p : pick) p = static_cast<int32_t>(rng.below(kMaxTokens));
          pick[0] = kMaxTokens - 1;  // the row that ends at the guard page
          const int one = drawn(picked);
          for (int n : picked)
            if (report.whole || n == one) call(slot, isa, fn, m, a, expected, rows, pick, n);
        }
      });
    }
    // Wider than what kernels cut into segments.
    const int wides[] = {16384 + 768, 65536 + 768}, counts[] = {1, 3, 5, 9, 17};
    const int wide_one = drawn(wides);
    for (int32_t wide : wides) {
      if (!report.whole && wide != wide_one) continue;
      shape(info, isas, 17, wide, 17, [&](const char* slot, const char* isa, MatmulFn fn, Matrix& m, TestActs& a,
                                         const float* expected) {
        const int rows = !strcmp(slot, "packed") ? 17 : 3;  // packed ones differ from 16 on
        const int one = drawn(counts);
        for (int n : counts)
          if (report.whole || n == one) call(slot, isa, fn, m, a, expected, rows, nullptr, n);
      });
    }
  }
};

// Many token rows of short float rows: kernels turn the weights around (body/gemm_float_strips.inl).
void test_float_strips(Report& report, SampleRng& rng, const DtypeInfo& info, const Isas& isas) {
  constexpr int kRows = 85, kTokens = 103;
  const int row_counts[] = {15, 16, 24, 33, 48, 63, 64, 65, 85}, token_counts[] = {95, 96, 97, 101, 103};
  const int widths[] = {32, 384, 768, 800, 1024, 1056};
  MatmulTest test(report, rng, kTokens, kRows);
  const int one = test.drawn(widths);
  for (int cols : widths) {
    if (!report.whole && cols != one && cols != 32) continue;
    test.shape(info, isas, kRows, cols, kTokens, [&](const char* slot, const char* isa, MatmulFn fn, Matrix& m,
                                                    TestActs& a, const float* expected) {
      if (strcmp(slot, "gemm") != 0) return;
      int32_t pick[kTokens];
      for (int32_t& p : pick) p = static_cast<int32_t>(rng.below(kTokens));
      for (int rows : row_counts)
        test.call(slot, isa, fn, m, a, expected, rows, rng.below(2) ? pick : nullptr, test.drawn(token_counts));
      for (int n : token_counts) test.call(slot, isa, fn, m, a, expected, test.drawn(row_counts), nullptr, n);
    });
  }
}

// Packing loses no byte, and single rows come back out of a strip.
void test_packing(Report& report, SampleRng& rng, const DtypeInfo& info) {
  if (info.block == 1 || !selected("packing", info.name, "")) return;
  for (int32_t blocks : {1, 2, 3, 17, 35}) {
    const int32_t cols = blocks * info.block;
    const int64_t bytes = static_cast<int64_t>(blocks) * info.bytes;
    Matrix m(rng, info, 19, cols, 5);
    Guarded packed(static_cast<size_t>(19 * bytes));
    pack_rows(info, m.last(19), m.row_bytes, 19, cols, packed.as<uint8_t>());
    bool same = true;
    for (int r = 0; r < 19; r++) {
      const int64_t block = r % blocks, count = blocks - block;
      Guarded row(static_cast<size_t>(count * info.bytes));
      if (r < 16) unpack_row(info, packed.as<uint8_t>(), cols, r, block, count, row.as<uint8_t>());
      else memcpy(row.as<void>(), packed.as<uint8_t>() + r * bytes + block * info.bytes, row.bytes());
      same = same && row.intact() &&
             !memcmp(row.as<void>(), m.last(19) + r * m.row_bytes + block * info.bytes, row.bytes());
    }
    report.check(same && packed.intact(), "packing %s cols=%d: rows differ", info.name, cols);
  }
}

void test_dequantize(Report& report, SampleRng& rng, const DtypeInfo& info, const Isas& isas) {
  for (int i = 0; i < isas.count; i++) {
    const Kernels& k = *isas.others[i];
    if (k.dequantize[info.dtype] == isas.scalar->dequantize[info.dtype]) continue;
    if (!selected("dequantize", info.name, k.isa)) continue;
    for (int32_t blocks : {1, 2, 3, 7, 33}) {
      const int32_t cols = blocks * info.block;
      Matrix m(rng, info, 6, cols, 0);
      for (int32_t r = 1; r <= 6; r++) {
        Guarded got(static_cast<size_t>(cols) * 4), want(static_cast<size_t>(cols) * 4);
        k.dequantize[info.dtype](m.last(r), got.as<float>(), cols);
        isas.scalar->dequantize[info.dtype](m.last(r), want.as<float>(), cols);
        report.same(got.as<float>(), want.as<float>(), cols, info.name, k.isa, cols);
        report.check(got.intact(), "dequantize %s %s: wrote in front of out", info.name, k.isa);
      }
    }
  }
}

typedef void (*QuantizeFn)(const float*, int8_t*, float*, int16_t*, int64_t);

// Inputs of every temper, ties in magnitude with opposite signs, which decide the sign of a Q8_256 scale, and ties in
// rounding.
void test_quantize(Report& report, SampleRng& rng, const char* name, int block, QuantizeFn fn, QuantizeFn scalar,
                   const char* isa) {
  if (!selected("quantize", name, isa)) return;
  for (int round = 0; round < 600; round++) {
    const int64_t blocks = 1 + rng.below(5), cols = blocks * block;
    Guarded x(static_cast<size_t>(cols) * 4), q(static_cast<size_t>(cols)), d(static_cast<size_t>(blocks) * 4),
        sums(static_cast<size_t>(cols / 16) * 2), q2(q.bytes()), d2(d.bytes()), sums2(sums.bytes());
    for (int64_t i = 0; i < cols; i++) x.as<float>()[i] = sample_float(rng, round % 5 == 4 ? 0 : round % 5);
    if (round % 3 == 0) {
      const float top = ldexpf(5.0f, static_cast<int>(rng.below(200)) - 100);
      for (int k = 0; k < 3; k++) x.as<float>()[rng.below(static_cast<uint32_t>(cols))] = k % 2 ? -top : top;
    }
    if (round % 7 == 6) {  // a scale of one and halves: ties in rounding
      for (int64_t i = 0; i < cols; i++) {
        const float half = static_cast<float>(rng.below(254)) - 126.5f;
        x.as<float>()[i] = i % block ? half : 127.0f;
      }
    }
    fn(x.as<float>(), q.as<int8_t>(), d.as<float>(), sums.as<int16_t>(), cols);
    scalar(x.as<float>(), q2.as<int8_t>(), d2.as<float>(), sums2.as<int16_t>(), cols);
    const bool bytes = memcmp(q.as<void>(), q2.as<void>(), q.bytes()) == 0 &&
                       memcmp(sums.as<void>(), sums2.as<void>(), sums.bytes()) == 0;
    report.check(bytes && q.intact() && d.intact() && sums.intact(), "quantize %s %s cols=%lld: bytes differ", name,
                 isa, static_cast<long long>(cols));
    report.same(d.as<float>(), d2.as<float>(), blocks, name, isa, cols);
    for (int64_t i = 0; i < cols; i++) {
      if (q.as<int8_t>()[i] == -128) report.check(false, "quantize %s %s: -128 written", name, isa);
    }
  }
}

// The check every process runs before it trusts an ISA: passes here, and names a slot that is not what it should be.
void test_self_check(Report& report, const Isas& isas) {
  for (int i = 0; i < isas.count; i++) {
    const Kernels& k = *isas.others[i];
    const char* slot = self_check(k, *isas.scalar);
    report.check(!slot, "self-check of %s: %s", k.isa, slot ? slot : "");
    Kernels broken = k;
    broken.gemm[MXFP4] = k.gemm[IQ4_NL];
    slot = self_check(broken, *isas.scalar);
    report.check(slot && strstr(slot, "mxfp4"), "self-check of a broken %s table: %s", k.isa, slot ? slot : "passed");
    if (k.packed[Q5_K] == nullptr) continue;
    broken = k;
    broken.packed[Q5_K] = k.gemm[Q5_K];
    slot = self_check(broken, *isas.scalar);
    report.check(slot && !strcmp(slot, "packed q5_k"), "self-check of a table that packs nothing: %s",
                 slot ? slot : "passed");
  }
  const char* wanted = getenv("HUNDREDWEIGHT_ISA");
  if ((!wanted || !*wanted) && isas.count > 0) {
    const char* best = isas.others[isas.count - 1]->isa;
    report.check(!strcmp(kernels().isa, best), "this process uses %s, not %s", kernels().isa, best);
  }
}

}  // namespace
}  // namespace hw

int main(int argc, char** argv) {
  using namespace hw;
  const Options options(argc, argv);
  filter = options.filter;
  Report report("kernel_test", argv[0], options);
  const Isas isas;
  SampleRng rng(report.seed);
  MatmulTest matmul{report, rng};
  int count;
  const DtypeInfo* infos = dtype_infos(&count);
  for (int i = 0; i < count; i++) {
    matmul.run(infos[i], isas);
    if (infos[i].block == 1) test_float_strips(report, rng, infos[i], isas);
    test_packing(report, rng, infos[i]);
    test_dequantize(report, rng, infos[i], isas);
    if (options.vectors) test_vectors(report, *isas.scalar, infos[i], options.vectors);
  }
  for (int i = 0; i < isas.count; i++) {
    const Kernels& k = *isas.others[i];
    test_quantize(report, rng, "q8_32", 32, k.quantize_q8_32, isas.scalar->quantize_q8_32, k.isa);
    test_quantize(report, rng, "q8_256", 256, k.quantize_q8_256, isas.scalar->quantize_q8_256, k.isa);
  }
  test_self_check(report, isas);
  if (!options.vectors) printf("NOT TESTED: scalar against foreign vectors (no --vectors FOLDER)\n");
  return report.finish();
}
