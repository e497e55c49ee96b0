// What columns take over of the errors before them, of sixteen rows side by side; every sum has one order, whatever the
// registers.
namespace hw {
namespace {

#if defined(__AVX512F__)
constexpr int kWide = 16;  // columns of a panel whose sums fit in the registers
#else
constexpr int kWide = 4;
#endif

// sums[m] += e[i] * panel[i][m], i from `from` to `to`.
HW_LANES void take_over(const F* e, int64_t from, int64_t to, const float* panel, F* sums) {
  for (int m0 = 0; m0 < kFeedbackRows; m0 += kWide) {
    F sum[kWide];
    for (int m = 0; m < kWide; m++) sum[m] = sums[m0 + m];
    for (int64_t i = from; i < to; i++) {
      const float* c = panel + i * 16 + m0;
      const F v = e[i];
      for (int m = 0; m < kWide; m++) sum[m] += v * c[m];
    }
    for (int m = 0; m < kWide; m++) sums[m0 + m] = sum[m];
  }
}

// Lanes whose value is no number, or beyond all that weights are, begin with the original again.
HW_LANES F or_original(F wanted, F original) { return magnitude(wanted) < 1e12f ? wanted : original; }

HW_LANES F reciprocal(F v) { return v != 0.0f ? 1.0f / v : F{}; }

}  // namespace
}  // namespace hw
