// Sums over the products of columns, and what a step of a factorization takes away: each element in one order.
namespace hw {
namespace {

typedef double D8 __attribute__((vector_size(64)));

void add_tile(const float* p, const float* q, int64_t rows, float* tile) {
  constexpr int kHigh = kWide == 16 ? 8 : 2;
  for (int i0 = 0; i0 < kMomentTile; i0 += kHigh) {
    F low[kHigh] = {}, high[kHigh] = {};
    for (int64_t r = 0; r < rows; r++) {
      const float* left = p + r * kMomentTile + i0;
      const F a = load(q + r * kMomentTile), b = load(q + r * kMomentTile + 16);
      for (int i = 0; i < kHigh; i++) {
        low[i] += left[i] * a;
        high[i] += left[i] * b;
      }
    }
    for (int i = 0; i < kHigh; i++) {
      float* to = tile + (i0 + i) * kMomentTile;
      const F a = load(to) + low[i], b = load(to + 16) + high[i];
      __builtin_memcpy(to, &a, sizeof a);
      __builtin_memcpy(to + 16, &b, sizeof b);
    }
  }
}

void take_away(double* a, int64_t n, int64_t i, int64_t from, int count, const double* t, int64_t first, int64_t end) {
  for (int64_t j = first; j < end; j += 8) {
    D8 sum[8];
    for (int r = 0; r < 8; r++) __builtin_memcpy(&sum[r], a + (i + r) * n + j, sizeof sum[r]);
    for (int k = 0; k < count; k++) {
      D8 column;
      __builtin_memcpy(&column, t + k * n + j, sizeof column);
      for (int r = 0; r < 8; r++) sum[r] -= a[(i + r) * n + from + k] * column;
    }
    for (int r = 0; r < 8; r++) __builtin_memcpy(a + (i + r) * n + j, &sum[r], sizeof sum[r]);
  }
}

}  // namespace
}  // namespace hw
