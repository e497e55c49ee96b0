// Runs every slot of a table once against scalar on a small input with full tiles and tails. Takes some 20 ms, so it
// runs in every process that multiplies instead of being remembered per CPU.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "packed.h"
#include "sample.h"
#include "units.h"

namespace hw {
namespace {

constexpr int kRows = 17, kTokens = 6, kCols = 512, kFloatCols = 101;

struct Workspace {
  alignas(64) int8_t q[kTokens * kCols];
  alignas(64) int8_t q2[kTokens * kCols];
  alignas(64) float x[kTokens * kCols];
  alignas(64) float d[kTokens * kCols / 32], d2[kTokens * kCols / 32];
  alignas(64) int16_t sums[kTokens * kCols / 16], sums2[kTokens * kCols / 16];
  alignas(64) uint8_t w[kRows * kCols * 4 + 64];
  alignas(64) uint8_t packed[kRows * kCols * 4 + 64];
  alignas(64) float out[2 * kTokens * kRows], expected[2 * kTokens * kRows];
  alignas(64) uint8_t scratch[kScratchBytes];
};

char failed[64];

const char* fail(const char* slot, const char* detail) {
  snprintf(failed, sizeof failed, "%s %s", slot, detail);
  return failed;
}

typedef void (*QuantizeFn)(const float*, int8_t*, float*, int16_t*, int64_t);

bool same_quantize(QuantizeFn fn, QuantizeFn reference, int block, Workspace& s) {
  const int blocks = kTokens * kCols / block;
  fn(s.x, s.q2, s.d2, s.sums2, kTokens * kCols);
  reference(s.x, s.q, s.d, s.sums, kTokens * kCols);
  return memcmp(s.q, s.q2, sizeof s.q) == 0 && memcmp(s.d, s.d2, static_cast<size_t>(blocks) * sizeof(float)) == 0 &&
         memcmp(s.sums, s.sums2, sizeof s.sums) == 0;
}

// `w`: the weights of s.w in the form that `fn` takes. Compares with what is in s.expected.
bool same_matmul(MatmulFn fn, const uint8_t* w, const DtypeInfo& info, int cols, const Acts& acts, Workspace& s) {
  const int64_t row_bytes = static_cast<int64_t>(cols) / info.block * info.bytes;
  memset(s.out, 0xff, sizeof s.out);
  fn(w, row_bytes, kRows, cols, &acts, nullptr, kTokens, s.out, kRows, s.scratch);
  if (memcmp(s.out, s.expected, sizeof s.out) != 0) return false;
  const int32_t pick[1] = {kTokens - 1};
  fn(w, row_bytes, kRows, cols, &acts, pick, 1, s.out, kRows, s.scratch);
  return memcmp(s.out, s.expected + (kTokens - 1) * kRows, kRows * sizeof(float)) == 0;
}

const char* check_matmul(const Kernels& k, const Kernels& reference, Workspace& s) {
  SampleRng rng(2);
  for (float& x : s.x) x = rng.uniform() * 3;
  int count;
  const DtypeInfo* infos = dtype_infos(&count);
  for (int i = 0; i < count; i++) {
    const DtypeInfo& info = infos[i];
    const int cols = info.block == 1 ? kFloatCols : kCols;
    if (info.acts == ACTS_Q8_32 && !same_quantize(k.quantize_q8_32, reference.quantize_q8_32, 32, s)) {
      return fail("quantize", "q8_32");
    }
    if (info.acts == ACTS_Q8_256 && !same_quantize(k.quantize_q8_256, reference.quantize_q8_256, 256, s)) {
      return fail("quantize", "q8_256");
    }
    const Acts acts = {info.acts, kTokens, cols, s.x, s.q, s.d, s.sums, kCols, kCols,
                       info.acts == ACTS_Q8_256 ? kCols / 256 : kCols / 32, kCols / 16};
    // One byte off: weights are not aligned in files either.
    const uint8_t* const w = s.w + 1;
    sample_weights(info, rng, s.w + 1, static_cast<int64_t>(kRows) * cols);
    // Products of one token and of many have one order of summing, so one reference does for all.
    memset(s.expected, 0xff, sizeof s.expected);
    reference.gemm[info.dtype](w, static_cast<int64_t>(cols) / info.block * info.bytes, kRows, cols, &acts, nullptr,
                               kTokens, s.expected, kRows, s.scratch);
    if (!same_matmul(k.matvec[info.dtype], w, info, cols, acts, s)) {
      return fail("matvec", info.name);
    }
    if (k.gemm[info.dtype] != k.matvec[info.dtype] &&
        !same_matmul(k.gemm[info.dtype], w, info, cols, acts, s)) {
      return fail("gemm", info.name);
    }
    if (k.packed[info.dtype] != nullptr) {
      pack_rows(info, w, cols / info.block * info.bytes, kRows, cols, s.packed);
      if (!same_matmul(k.packed[info.dtype], s.packed, info, cols, acts, s)) {
        return fail("packed", info.name);
      }
    }
    if (k.dequantize[info.dtype] != reference.dequantize[info.dtype]) {
      float* a = reinterpret_cast<float*>(s.scratch);
      float* b = a + kCols;
      k.dequantize[info.dtype](w, a, cols);
      reference.dequantize[info.dtype](w, b, cols);
      if (memcmp(a, b, static_cast<size_t>(cols) * sizeof(float)) != 0) return fail("dequantize", info.name);
    }
  }
  return nullptr;
}

// A byte of a plane that stands for a finite number: of a NaN only its being one is promised.
uint8_t finite_byte(const Layout& layout, int32_t plane, int64_t at, uint8_t byte) {
  const LayoutForm& form = layout.form;
  if (plane == index_plane(layout)) return at % 4 != 0 ? 0 : byte & 3;
  if (plane == 0) {
    if (form.codes == CODES_E4M3 && (byte & 127) == 127) return byte - 1;
    return form.codes == CODES_E5M2 ? byte & 0xbf : byte;
  }
  const bool nested = form.scales == SCALES_NESTED;
  if (plane == 1 && form.scales == SCALES_E8M0) return 100 + byte % 32;
  if (plane == 1 && nested) return byte;
  if (plane > 1 && !nested) return byte;
  // The upper byte of halves and of numbers of four bytes.
  const int64_t bytes = form.scales == SCALES_F16 || form.scales == SCALES_BF16 ? 2 : 4;
  return at % bytes == bytes - 1 ? byte & 0xb7 : byte;
}

const char* check_units(const Kernels& k, const Kernels& reference, Workspace& s) {
  SampleRng rng(3);
  constexpr int rows = 32, inputs = 256, tokens = kTokens;
  static_assert(tokens * rows <= kTokens * kRows * 2, "results");
  if (!same_quantize(k.quantize_q8_32, reference.quantize_q8_32, 32, s)) return fail("quantize", "q8_32");
  int count;
  const Layout* all = layouts(&count);
  for (int i = 0; i < count; i++) {
    const Layout& layout = all[i];
    Slices slices;
    if (layout.blocks != nullptr || k.units[layout.units] == reference.units[layout.units]) continue;
    if (!slices_of(layout, rows, inputs, &slices)) return fail("units", layout.name);
    const Acts acts = {layout.acts, tokens, inputs, s.x, s.q, s.d, s.sums, kCols, kCols, kCols / 32, kCols / 16};
    Piece piece = {{}, 0, slices.count};
    uint8_t* at = s.w + 1;
    for (int32_t p = 0; p < layout.planes; p++) {
      piece.plane[p] = at;
      for (int64_t b = 0; b < slices.count * slices.plane_bytes[p] + slices.whole_bytes[p]; b++) {
        *at++ = finite_byte(layout, p, b, static_cast<uint8_t>(rng.next()));
      }
    }
    const UnitGrid grid = unit_grid(layout, slices, rows, inputs, piece);
    memset(s.out, 0, sizeof s.out);
    memset(s.expected, 0, sizeof s.expected);
    k.units[layout.units](layout, grid, 0, rows, acts, nullptr, tokens, s.out, rows, s.scratch);
    reference.units[layout.units](layout, grid, 0, rows, acts, nullptr, tokens, s.expected, rows, s.scratch);
    for (int r = 0; r < tokens * rows; r++) {
      // Sums of large numbers may be infinite, and then not numbers.
      const bool nan = s.expected[r] != s.expected[r] && s.out[r] != s.out[r];
      if (!nan && memcmp(s.out + r, s.expected + r, sizeof(float)) != 0) return fail("units", layout.name);
    }
  }
  return nullptr;
}

constexpr int kHeadDim = 64;

bool same(const float* a, const float* b, int n) { return memcmp(a, b, static_cast<size_t>(n) * sizeof(float)) == 0; }

const char* check_float(const Kernels& k, const Kernels& reference, Workspace& s) {
  constexpr int n = kFloatCols, pairs = kHeadDim / 2;
  const float* x = s.x;
  const float* y = s.x + n;
  float* a = reinterpret_cast<float*>(s.scratch);
  float* b = a + n;
  auto both = [&](auto run) {
    memcpy(a, y, n * sizeof(float));
    memcpy(b, y, n * sizeof(float));
    run(k, a);
    run(reference, b);
    return same(a, b, n);
  };
  if (!both([&](const Kernels& t, float* o) { t.rms_norm(x, y, o, n, 1e-5f); })) return fail("float", "rms_norm");
  if (!both([&](const Kernels& t, float* o) { t.add(x, o, n); })) return fail("float", "add");
  if (!both([&](const Kernels& t, float* o) { t.scale(o, 0.3f, n); })) return fail("float", "scale");
  if (!both([&](const Kernels& t, float* o) { t.axpy(x, 0.3f, o, n); })) return fail("float", "axpy");
  if (!both([&](const Kernels& t, float* o) { t.softcap(o, 2.0f, n); })) return fail("float", "softcap");
  for (int g = 0; g < GLU_KINDS; g++) {
    if (!both([&](const Kernels& t, float* o) { t.glu[g](x, y, o, n); })) return fail("float", "glu");
  }
  for (int32_t interleaved = 0; interleaved < 2; interleaved++) {
    if (!both([&](const Kernels& t, float* o) { t.rope(o, x, x + pairs, kHeadDim, interleaved); }))
      return fail("float", "rope");
  }
  if (!both([&](const Kernels& t, float* o) { o[0] = t.max(x, n); })) return fail("float", "max");
  if (!both([&](const Kernels& t, float* o) {
        const float sum = t.exp_sum(o, 3.0f, n);
        o[0] += sum;
      })) {
    return fail("float", "exp_sum");
  }
  return nullptr;
}

}  // namespace

const char* self_check(const Kernels& k, const Kernels& reference) {
  // 64-byte alignment by hand: aligned allocation differs between C libraries.
  void* memory = malloc(sizeof(Workspace) + 64);
  if (!memory) return "out of memory";
  Workspace* s = reinterpret_cast<Workspace*>((reinterpret_cast<uintptr_t>(memory) + 63) & ~static_cast<uintptr_t>(63));
  const char* slot = check_matmul(k, reference, *s);
  if (!slot) slot = check_units(k, reference, *s);
  if (!slot) slot = check_float(k, reference, *s);
  free(memory);
  return slot ? slot : self_check_float(k, reference);
}

}  // namespace hw
