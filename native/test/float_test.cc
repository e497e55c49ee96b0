// Float kernels: accuracy of the scalar definitions against double libm, every ISA against scalar bit for bit.
//   float_test [SEED] [--whole]
#include "kernel_harness.h"
#include "kernels/float_math.h"

namespace hw {
namespace {

// One unit in the last place of the float nearest to x; subnormal results count in steps of 2^-149.
double ulp_of(double x) {
  int e;
  frexp(x, &e);
  return ldexp(1.0, (e < -125 ? -125 : e) - 24);
}

struct Worst {
  double ulps = 0;
  float at = 0;
  void add(float x, float got, double want) {
    if (isnan(want) && isnan(got)) return;
    const float rounded = (float)want;
    if (got == rounded) return;
    const double u = isfinite(got) && isfinite(rounded) ? fabs((double)got - want) / ulp_of(want) : INFINITY;
    if (!(u <= ulps)) ulps = u, at = x;
  }
};

// Every 613th float of all 2^32, so all exponents, both signs, subnormals, infinities and NaNs: 7 million points. A
// part of the sweep is every 19th of these, from another start each time.
void accuracy(Report& r) {
  Worst e, t, s;
  double e_small = 0, gelu = 0;
  const uint64_t step = r.whole ? 613 : 613 * 19;
  for (uint64_t bits = r.seed % step; bits < 1ull << 32; bits += step) {
    const float x = bits_float((uint32_t)bits);
    const float ex = scalar_exp(x);
    const double want = exp((double)x);
    if (want >= 0x1p-126 || isnan(x)) e.add(x, ex, want);
    else e_small = fmax(e_small, fabs((double)ex - want) * 0x1p149);
    r.check(!(x < -104.0f) || ex == 0.0f, "exp(%a) = %a, not 0", (double)x, (double)ex);
    t.add(x, scalar_tanh(x), tanh((double)x));
    if (fabsf(x) < 87.0f) s.add(x, scalar_gate(1.0f, x), 1.0 / (1.0 + exp(-(double)x)));
    // x sigmoid(2u): u carries 4 roundings of relative size 2^-24, exp makes them 2|u| times as large; 4 more follow.
    if (fabsf(x) < 5.0f) {
      const double u = 0.7978845608028654 * ((double)x + 0.044715 * (double)x * x * x);
      const double w = x / (1.0 + exp(-2.0 * u)), bound = fabs(w) * (5.0 + 4.0 * fabs(2.0 * u)) * 0x1p-24 + 0x1p-149;
      gelu = fmax(gelu, fabs((double)scalar_gelu_tanh(x) - w) / bound);
    }
  }
  printf("exp  %.3f ULP at %a, subnormal results %.2f steps\ntanh %.3f ULP at %a\nsigmoid %.3f ULP at %a\n", e.ulps,
         (double)e.at, e_small, t.ulps, (double)t.at, s.ulps, (double)s.at);
  printf("gelu-tanh: %.2f of its bound\n", gelu);
  r.check(e.ulps <= 1.0, "exp: %.3f ULP at %a", e.ulps, (double)e.at);
  r.check(e_small <= 1.0, "exp: subnormal result off by %.2f steps", e_small);
  r.check(t.ulps <= 3.0, "tanh: %.3f ULP at %a", t.ulps, (double)t.at);
  r.check(s.ulps <= 3.0, "sigmoid: %.3f ULP at %a", s.ulps, (double)s.at);
  r.check(gelu <= 1.0, "gelu-tanh: %.2f times its bound", gelu);
  r.check(scalar_exp(-INFINITY) == 0.0f && scalar_exp(INFINITY) == INFINITY && isnan(scalar_exp(NAN)), "exp specials");
  r.check(scalar_exp(0.0f) == 1.0f && scalar_exp(88.8f) == INFINITY && isfinite(scalar_exp(88.72f)), "exp edges");
  r.check(same_float(scalar_tanh(-0.0f), -0.0f) && scalar_tanh(INFINITY) == 1.0f && scalar_tanh(-1e30f) == -1.0f &&
              isnan(scalar_tanh(NAN)),
          "tanh specials");
  r.check(scalar_softcap(1e38f, 0.5f) == 0.5f && scalar_softcap(-3e38f, 30.0f) == -30.0f, "softcap saturates");
}

// The same points through the vector code: accuracy carries over when the bits are the same.
void same_math(Report& r, const Kernels& k, const Kernels& scalar) {
  constexpr int n = 4096;
  static float x[n], a[n], b[n], one[n];
  for (float& v : one) v = 1.0f;
  const uint64_t step = r.whole ? 2003 : 2003 * 19;
  uint64_t bits = r.seed % step;
  while (bits < 1ull << 32) {
    for (float& v : x) v = bits_float((uint32_t)bits), bits += step;
    auto both = [&](const char* what, auto run) {
      memcpy(a, x, sizeof x), memcpy(b, x, sizeof x);
      run(k, a), run(scalar, b);
      r.same(a, b, n, what, k.isa, n);
    };
    both("exp", [](const Kernels& f, float* p) { f.exp_sum(p, 0.0f, n); });
    both("tanh", [](const Kernels& f, float* p) { f.softcap(p, 1.0f, n); });
    for (int g = 0; g < GLU_KINDS; g++) both("glu", [&](const Kernels& f, float* p) { f.glu[g](p, one, p, n); });
  }
}

// Runs `call` for an ISA and for scalar on equal copies of nx inputs x, ny inputs y and compares the ny outputs y.
template <class Call>
void compare(Report& r, SampleRng& rng, int temper, const Kernels& k, const Kernels& scalar, const char* what,
             int64_t nx, int64_t ny, Call call) {
  Guarded x((size_t)nx * 4), y((size_t)ny * 4), z((size_t)ny * 4);
  for (int64_t i = 0; i < nx; i++) x.as<float>()[i] = sample_float(rng, temper);
  for (int64_t i = 0; i < ny; i++) y.as<float>()[i] = z.as<float>()[i] = sample_float(rng, temper);
  call(k, x.as<float>(), y.as<float>());
  call(scalar, x.as<float>(), z.as<float>());
  r.same(y.as<float>(), z.as<float>(), ny, what, k.isa, ny);
  r.check(x.intact() && y.intact(), "%s %s n=%lld wrote in front of its buffer", what, k.isa, (long long)ny);
}

void same_bits(Report& r, SampleRng& rng, int temper, const Kernels& k, const Kernels& s, int32_t n) {
  typedef const Kernels& K;
  typedef const float* In;
  auto run = [&](const char* what, int64_t nx, auto call) { compare(r, rng, temper, k, s, what, nx, n, call); };
  const float c = sample_float(rng, 0);
  run("add", n, [=](K f, In x, float* y) { f.add(x, y, n); });
  run("scale", 0, [=](K f, In, float* y) { f.scale(y, c, n); });
  run("axpy", n, [=](K f, In x, float* y) { f.axpy(x, c, y, n); });
  run("softcap", 0, [=](K f, In, float* y) { f.softcap(y, 30.0f, n); });
  const char* const glus[GLU_KINDS] = {"silu", "gelu_tanh", "oai"};
  for (int g = 0; g < GLU_KINDS; g++) {
    run(glus[g], 2 * n, [=](K f, In x, float* y) { f.glu[g](x, x + n, y, n); });
    run(glus[g], n, [=](K f, In x, float* y) { f.glu[g](y, x, y, n); });
    run(glus[g], n, [=](K f, In x, float* y) { f.glu[g](x, y, y, n); });
  }
  // A reduction's result goes to y[0]; n == 0 has no room for one.
  if (n > 0) {
    run("rms_norm", 2 * n, [=](K f, In x, float* y) { f.rms_norm(x, x + n, y, n, 1e-5f); });
    run("layer_norm", 3 * n, [=](K f, In x, float* y) { f.layer_norm(x, x + n, x + 2 * n, y, n, 1e-5f); });
    run("layer_norm in place, bare", 0, [=](K f, In, float* y) { f.layer_norm(y, nullptr, nullptr, y, n, 1e-6f); });
    run("rms_norm in place, no weight", 0, [=](K f, In, float* y) { f.rms_norm(y, nullptr, y, n, 1e-6f); });
    run("max", n, [=](K f, In x, float* y) { y[0] = f.max(x, n); });
    run("exp_sum", 0, [=](K f, In, float* y) {
      const float m = f.max(y, n), sum = f.exp_sum(y, m, n);
      y[n - 1] = y[n - 1] + sum;
    });
  } else {
    r.check(k.max(&c, 0) == -INFINITY && s.max(&c, 0) == -INFINITY, "max of nothing %s", k.isa);
    float none = 1.0f;
    r.check(k.exp_sum(&none, 0.0f, 0) == 0.0f && none == 1.0f, "exp_sum of nothing %s", k.isa);
  }
  const int32_t dims = n & ~1;
  for (int interleaved = 0; interleaved < 2; interleaved++)
    compare(r, rng, temper, k, s, "rope", dims, dims,
            [=](K f, In x, float* y) { f.rope(y, x, x + dims / 2, dims, interleaved); });
}

// The definitions themselves, against double. Sums of n terms in 32 chains and a tree of 5: relative error per sum of
// magnitudes at most (n / 32 + 5) roundings.
void meaning(Report& r, SampleRng& rng, const Kernels& s, int32_t n) {
  if (n < 2) return;
  const double sum_eps = (n / 32 + 6) * 0x1p-24;
  float *x = (float*)malloc(n * 4u), *w = (float*)malloc(n * 4u), *y = (float*)malloc(n * 4u);
  double squares = 0, top = -INFINITY, total = 0, worst = 0;
  for (int i = 0; i < n; i++) {
    x[i] = sample_float(rng, 0), w[i] = sample_float(rng, 0);
    squares += (double)x[i] * x[i];
    top = fmax(top, x[i]);
  }
  s.rms_norm(x, w, y, n, 1e-5f);
  for (int i = 0; i < n; i++) {
    const double want = x[i] / sqrt(squares / n + 1e-5) * w[i];
    worst = fmax(worst, fabs(y[i] - want) / (fabs(want) * (sum_eps + 6 * 0x1p-24) + 1e-40));
  }
  r.check(worst <= 1, "rms_norm n=%d: %.2f of its bound", n, worst);
  r.check(s.max(x, n) == (float)top, "max n=%d", n);
  for (int i = 0; i < n; i++) total += exp((double)x[i] - top);
  memcpy(y, x, n * 4u);
  const double sum = s.exp_sum(y, (float)top, n);  // x - top: one rounding of up to 8 * 2^-24, plus exp's 1 ULP
  r.check(fabs(sum - total) <= total * (sum_eps + 10 * 0x1p-24), "exp_sum n=%d: %.9g, true %.9g", n, sum, total);
  const int dims = n & ~1, half = dims / 2;
  for (int interleaved = 0; interleaved < 2; interleaved++) {
    memcpy(y, x, n * 4u);
    s.rope(y, w, w + half, dims, interleaved);
    worst = 0;
    for (int i = 0; i < half; i++) {
      const int a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : half + i;
      const double c = w[i], z = w[half + i], size = (fabs(x[a]) + fabs(x[b])) * (fabs(c) + fabs(z)) * 0x1p-23;
      worst = fmax(worst, fabs(y[a] - (x[a] * c - x[b] * z)) / size);
      worst = fmax(worst, fabs(y[b] - (x[b] * c + x[a] * z)) / size);
    }
    r.check(worst <= 1, "rope n=%d interleaved=%d: %.2f of its bound", n, interleaved, worst);
  }
  free(x), free(w), free(y);
}

int run(int argc, char** argv) {
  Report r("float_test", argv[0], Options(argc, argv));
  const Isas isas;
  SampleRng rng(r.seed);
  accuracy(r);
  const int32_t sizes[] = {0,  1,  2,  3,  5,  7,  8,   15,  16,  17,   31,   32,  33,
                           63, 64, 65, 96, 97, 255, 256, 257, 4095, 4096, 4097};
  for (const int32_t n : sizes) meaning(r, rng, *isas.scalar, n);
  for (int i = 0; i < isas.count; i++) {
    same_math(r, *isas.others[i], *isas.scalar);
    for (const int32_t n : sizes)
      for (int temper = 0; temper < kTempers; temper++) same_bits(r, rng, temper, *isas.others[i], *isas.scalar, n);
  }
  return r.finish();
}

}  // namespace
}  // namespace hw

int main(int argc, char** argv) { return hw::run(argc, argv); }
