// Scalar kernels against block data, exact dequantizations and dot products that another implementation made.
// Dequantization must agree bit for bit. A dot product may differ from the exact one only by what rounding the
// activations costs, so its bound is derived per row from the data.
#pragma once
#include <initializer_list>

#include "kernel_harness.h"

namespace hw {

struct Blob {
  uint8_t* data = nullptr;
  size_t bytes = 0;
  Blob(const char* folder, const char* name, const char* suffix) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s%s", folder, name, suffix);
    FILE* f = fopen(path, "rb");
    if (!f) return;
    fseek(f, 0, SEEK_END);
    bytes = static_cast<size_t>(ftell(f));
    rewind(f);
    data = static_cast<uint8_t*>(malloc(bytes + 1));
    if (fread(data, 1, bytes, f) != bytes) bytes = 0;
    data[bytes] = 0;
    fclose(f);
  }
  ~Blob() { free(data); }
  Blob(const Blob&) = delete;
  Blob& operator=(const Blob&) = delete;
  float f32(int64_t i) const {
    float v;
    memcpy(&v, data + 4 * i, 4);
    return v;
  }
};

// The four numbers of the first "f64_dequant_x_f32act" under the entry of this type. A text scan, not a JSON reader.
static inline bool find_dots(const Blob& index, const char* name, double* out) {
  char key[48];
  snprintf(key, sizeof key, "\"name\": \"%s\"", name);
  const char* p = strstr(reinterpret_cast<const char*>(index.data), key);
  const char* end = p ? strstr(p + 1, "\"name\":") : nullptr;
  if (p) p = strstr(p, "\"f64_dequant_x_f32act\": [");
  if (!p || (end && p > end)) return false;
  p = strchr(p, '[') + 1;
  for (int i = 0; i < 4; i++) {
    char* next;
    out[i] = strtod(p, &next);
    if (next == p) return false;
    p = next + strspn(next, ", \n");
  }
  return true;
}

// Sum over the row of |w| times the rounding error of its activation: half a step of the quantized value and, for
// ACTS_Q8_32, the rounding of d to 11 bits on top; plus one rounding of the accumulator per block (or per value).
static inline double dot_bound(const DtypeInfo& info, const Blob& w, int64_t row, const float* x, const Acts& a,
                               int cols) {
  double bound = 0, magnitude = 0;
  const int block = info.acts == ACTS_Q8_256 ? 256 : 32;
  for (int i = 0; i < cols; i++) {
    const double v = fabs(static_cast<double>(w.f32(row * cols + i)));
    magnitude += v * fabs(static_cast<double>(x[i]));
    if (info.acts == ACTS_F32) continue;
    const double step = fabs(static_cast<double>(a.d[i / block]));
    bound += v * (step * 0.5 + (info.acts == ACTS_Q8_32 ? step * 127 * 0x1p-11 : 0));
  }
  const double roundings = info.acts == ACTS_F32 ? cols / 32.0 + 5 : cols / block * (info.dtype == NVFP4 ? 6.0 : 3.0);
  return bound + magnitude * roundings * 0x1p-23 + 0x1p-140;
}

static inline void test_vectors(Report& report, const Kernels& k, const DtypeInfo& info, const char* folder) {
  char name[16];
  snprintf(name, sizeof name, "%s", info.name);
  if (strstr(name, "_k")) strstr(name, "_k")[1] = 'K';  // files are called q4_K
  int compared = 0;
  // Types that cannot be encoded without an importance matrix have values of blocks that were.
  const bool plain = Blob(folder, name, ".noimat.f32.bin").data != nullptr;
  for (const char* kind : {"rand", plain ? "noimat" : "imat"}) {
    char q[32], f[32];
    snprintf(q, sizeof q, ".%s.q.bin", kind);
    snprintf(f, sizeof f, ".%s.f32.bin", kind);
    const Blob bytes(folder, name, q), values(folder, name, f);
    if (!bytes.data || !values.data) continue;
    const int64_t count = static_cast<int64_t>(bytes.bytes) / info.bytes * info.block;
    float* got = static_cast<float*>(malloc(static_cast<size_t>(count) * 4));
    k.dequantize[info.dtype](bytes.data, got, count);
    report.check(values.bytes == static_cast<size_t>(count) * 4 && memcmp(got, values.data, values.bytes) == 0,
                 "dequantize %s.%s differs from the vectors", name, kind);
    free(got);
    compared++;
  }
  report.check(compared > 0, "no vectors for %s in %s", name, folder);

  const Blob index(folder, "index.json", ""), acts(folder, "activations_f32_4x1024.bin", "");
  const Blob w(folder, name, plain ? ".noimat.q.bin" : ".imat.q.bin");
  const Blob exact(folder, name, plain ? ".noimat.f32.bin" : ".imat.f32.bin");
  double dots[4];
  if (!index.data || !acts.data || !w.data || !exact.data || !find_dots(index, name, dots)) {
    report.check(false, "no dot products for %s in %s", name, folder);
    return;
  }
  constexpr int cols = 1024;
  alignas(64) static float x[cols], d[cols / 32];
  alignas(64) static int8_t q[cols];
  alignas(64) static int16_t sums[cols / 16];
  double worst = 0;
  for (int64_t r = 0; r < 4; r++) {
    memcpy(x, acts.data + r * cols * 4, sizeof x);
    (info.acts == ACTS_Q8_256 ? k.quantize_q8_256 : k.quantize_q8_32)(x, q, d, sums, cols);
    const Acts a = {info.acts, 1, cols, x, q, d, sums, cols, cols, cols / 32, cols / 16};
    const int64_t row_bytes = cols / info.block * info.bytes;
    float got;
    k.matvec[info.dtype](w.data + r * row_bytes, row_bytes, 1, cols, &a, nullptr, 1, &got, 1, nullptr);
    const double off = fabs(static_cast<double>(got) - dots[r]), bound = dot_bound(info, exact, r, x, a, cols);
    report.check(off <= bound, "dot %s row %d: %g, exact %g, off by %g, bound %g", name, static_cast<int>(r),
                 static_cast<double>(got), dots[r], off, bound);
    worst = fmax(worst, off / bound);
  }
  printf("vectors %-7s %d files bit-equal, dot products at %.3f of their bound at most\n", name, compared, worst);
}

}  // namespace hw
