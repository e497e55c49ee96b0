#include "feedback.h"

#include <math.h>
#include <string.h>

#include "../kernels/kernels.h"

namespace hw {

int64_t feedback_chunk(int32_t dtype) {
  const DtypeInfo* info = dtype_info(dtype);
  return info != nullptr && info->block > 32 ? info->block : 32;
}

void add_moments(const Encoders& e, Pool& pool, const float* x, int64_t rows, int64_t cols, int64_t block,
                 float* panels, float* sums) {
  const int64_t all = cols / kMomentTile, tiles = block / kMomentTile;
  pool.parallel_for(all, [&](int64_t panel, int) {
    float* to = panels + panel * rows * kMomentTile;
    for (int64_t r = 0; r < rows; r++)
      memcpy(to + r * kMomentTile, x + r * cols + panel * kMomentTile, kMomentTile * sizeof(float));
  });
  // A part is a row of tiles.
  pool.parallel_for(all, [&](int64_t row, int) {
    const int64_t p = row % tiles;
    float* tile = sums + row / tiles * moment_values(block) +
                  (p * tiles - p * (p - 1) / 2) * (kMomentTile * kMomentTile);
    for (int64_t q = row; q < (row / tiles + 1) * tiles; q++, tile += kMomentTile * kMomentTile)
      e.add_tile(panels + row * rows * kMomentTile, panels + q * rows * kMomentTile, rows, tile);
  });
}

namespace {

constexpr double kLeastPivot = 1e-6;

double moment_at(const float* sums, int64_t n, int64_t i, int64_t j) {
  if (i > j) {
    const int64_t k = i;
    i = j;
    j = k;
  }
  const int64_t tiles = n / kMomentTile, p = i / kMomentTile, q = j / kMomentTile;
  const int64_t tile = p * tiles - p * (p - 1) / 2 + q - p;
  return sums[(tile * kMomentTile + i % kMomentTile) * kMomentTile + j % kMomentTile];
}

// The lower triangle of rows and columns k0 ... k0 + count, one after the other.
void factor_corner(double* a, int64_t n, int64_t k0, int64_t count) {
  for (int64_t k = k0; k < k0 + count; k++) {
    for (int64_t m = k0; m < k; m++) a[k * n + k] -= a[k * n + m] * a[k * n + m];
    const double pivot = a[k * n + k] > kLeastPivot ? a[k * n + k] : kLeastPivot;
    a[k * n + k] = sqrt(pivot);
    for (int64_t i = k + 1; i < k0 + count; i++) {
      double v = a[i * n + k];
      for (int64_t m = k0; m < k; m++) v -= a[i * n + m] * a[k * n + m];
      a[i * n + k] = v / a[k * n + k];
    }
  }
}

}  // namespace

void make_factor(const Encoders& e, Pool& pool, const float* sums, int64_t n, const int32_t* order, double shrink,
                 double damp, double* a, double* t, float* factor) {
  double mean = 0.0;
  for (int64_t j = 0; j < n; j++) mean += moment_at(sums, n, j, j);
  mean /= static_cast<double>(n);
  if (!(mean > 0.0)) mean = 1.0;
  // Roots of the diagonal, in the order from behind: what is factored comes last first, and has a diagonal of ones.
  double* root = t + kFactorStep * n;
  for (int64_t i = 0; i < n; i++) {
    const int64_t from = order[n - 1 - i];
    root[i] = sqrt(moment_at(sums, n, from, from) / mean + damp);
  }
  pool.parallel_for(n / 8, [&](int64_t part, int) {
    for (int64_t i = 8 * part; i < 8 * part + 8; i++) {
      for (int64_t j = 0; j < i; j++) {
        const double v = moment_at(sums, n, order[n - 1 - i], order[n - 1 - j]) / mean / (root[i] * root[j]);
        a[i * n + j] = (1.0 - shrink) * (v > 1.0 ? 1.0 : v >= -1.0 ? v : -1.0);
      }
      a[i * n + i] = 1.0;
    }
  });
  for (int64_t k0 = 0; k0 < n; k0 += kFactorStep) {
    const int64_t count = n - k0 < kFactorStep ? n - k0 : kFactorStep, first = k0 + count;
    factor_corner(a, n, k0, count);
    pool.parallel_for((n - first) / 8, [&](int64_t part, int) {
      for (int64_t i = first + 8 * part; i < first + 8 * part + 8; i++) {
        for (int64_t k = k0; k < first; k++) {
          double v = a[i * n + k];
          for (int64_t m = k0; m < k; m++) v -= a[i * n + m] * a[k * n + m];
          v /= a[k * n + k];
          a[i * n + k] = v;
          t[(k - k0) * n + i] = v;
        }
      }
    });
    pool.parallel_for((n - first) / 8, [&](int64_t part, int) {
      const int64_t i = first + 8 * part;
      e.take_away(a, n, i, k0, static_cast<int>(count), t, first, i + 8);
    });
  }
  pool.parallel_for(n / 16, [&](int64_t panel, int) {
    for (int64_t j = 16 * panel; j < 16 * panel + 16; j++) {
      const int64_t from_j = n - 1 - j;
      const double pivot = a[from_j * n + from_j];
      for (int64_t i = 0; i < n; i++) {
        const int64_t from_i = n - 1 - i;
        const double v = i < j    ? a[from_i * n + from_j] * root[from_i] / (pivot * root[from_j])
                         : i == j ? pivot * pivot * root[from_j] * root[from_j]
                                  : 0.0;
        factor[factor_at(n, i, j)] = static_cast<float>(v);
      }
    }
  });
}

}  // namespace hw
