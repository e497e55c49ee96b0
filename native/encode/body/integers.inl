// Integers under scales of groups of columns, as GPTQ, AWQ and int8 files hold them, and columns that are left out.
// Sixteen rows side by side, errors handed on as in feedback.inl; without a factor each code is for itself.
#include "../../kernels/half.h"
#include "../encode.h"
#include "../feedback.h"

#if defined(__GNUC__) && !defined(__clang__)
// Vectors wider than the registers are passed in memory; nothing outside this object sees them.
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#include "lanes.inl"
#include "take_over.inl"

namespace hw {
namespace {

// The scale of a group and the code of zero, both of sixteen rows; `most` is the largest code.
struct Grid {
  F scale, zero;
  float most;
};

HW_LANES F as_halves(F v) {
  for (int lane = 0; lane < kLanes; lane++) v[lane] = half_to_float(to_half(v[lane]));
  return v;
}

HW_LANES F round_within(F v, F least, F most) {
  v = v == v ? v : F{};
  v = v < least ? least : v;
  v = v > most ? most : v;
  return to_float(nearest(v));
}

// Codes less the code of zero.
HW_LANES F level_of(F v, const Grid& grid, F inverse) {
  return round_within(v * inverse, -grid.zero, grid.most - grid.zero);
}

// What a grid loses; sums for the scale that is best for the codes it gave.
inline F grid_error(const F* v, const float* w, int64_t n, const Grid& grid, F* best_scale) {
  const F inverse = reciprocal(grid.scale);
  F error = {}, along = {}, length = {};
  for (int64_t i = 0; i < n; i++) {
    const F level = level_of(v[i], grid, inverse), lost = v[i] - level * grid.scale, weighed = level * w[i];
    error += lost * lost * w[i];
    along += weighed * v[i];
    length += weighed * level;
  }
  *best_scale = length > 0.0f ? along / length : grid.scale;
  return error;
}

// Shares of the range that are tried last: fewer bits want more of it cut off.
constexpr float kLeastShare[] = {1.0f, 1.0f, 0.45f, 0.55f, 0.65f, 0.75f, 0.85f, 0.9f, 0.92f};

// Of the grids that span the range, or share of it, the one that loses least, then with the scale fitted to its codes.
inline Grid find_grid(const F* v, const float* w, int64_t n, int bits, bool symmetric, int trials) {
  F low = {}, high = {};
  for (int64_t i = 0; i < n; i++) {
    low = v[i] < low ? v[i] : low;
    high = v[i] > high ? v[i] : high;
  }
  const float most = static_cast<float>((1 << bits) - 1), middle = static_cast<float>(1 << (bits - 1));
  if (symmetric) {
    high = high > -low ? high : -low;
    low = -high;
  }
  const F range = high - low, full = range / most;
  // A whole number of steps lies below zero, so that zero has a code.
  const F below = full > 0.0f ? to_float(nearest(-low / full)) : F{};
  const F zero = symmetric ? spread(middle) : below > most ? spread(most) : below;
  Grid best = {};
  F least = {}, fitted = {};
  // Symmetric grids have a step more on one side; the first of several trials does without it.
  const float first = trials > 1 && symmetric ? most / (most - 1.0f) : 1.0f;
  for (int trial = 0; trial < trials + (trials > 1 ? 2 : 0); trial++) {
    Grid grid = {F{}, zero, most};
    if (trial < trials) {
      const float share =
          trials == 1 ? 1.0f : first - (first - kLeastShare[bits]) * static_cast<float>(trial) / (trials - 1);
      grid.scale = as_halves(full * share);
    } else {
      grid.scale = as_halves(fitted > 0.0f ? fitted : best.scale);
    }
    F fits;
    const F error = grid_error(v, w, n, grid, &fits);
    const I better = trial == 0 ? I{} - 1 : error < least;
    least = better ? error : least;
    fitted = better ? fits : fitted;
    best.scale = better ? grid.scale : best.scale;
    best.zero = grid.zero;
    best.most = most;
  }
  return best;
}

// Sixteen rows from `row` on; the last one stands in for those that are not there.
inline int rows_from(const float* x, int64_t row, int64_t rows, int64_t cols, const float** out) {
  const int count = static_cast<int>(rows - row < kFeedbackRows ? rows - row : kFeedbackRows);
  for (int lane = 0; lane < kFeedbackRows; lane++) out[lane] = x + (row + (lane < count ? lane : count - 1)) * cols;
  return count;
}

HW_LANES F column_of(const float* const* x, int64_t column) {
  F v;
  for (int lane = 0; lane < kFeedbackRows; lane++) v[lane] = x[lane][column];
  return v;
}

void encode_integers(const IntegerRows& job) {
  const int64_t block = job.factor != nullptr ? job.block : job.cols, groups = job.cols / job.group;
  F* e = (F*)job.scratch;
  F* original = e + job.cols;
  F* wanted = original + job.cols;
  for (int64_t row = 0; row < job.rows; row += kFeedbackRows) {
    const float* x[kFeedbackRows];
    const int count = rows_from(job.x, row, job.rows, job.cols, x);
    F lost_in_all = {};
    Grid grid = {};
    F inverse = {};
    int64_t begun = 0;  // the first column of the group
    for (int64_t column = 0; column < job.cols; column += kFeedbackRows) {
      const int64_t base = column / block * block, first = column - base;
      const float* factor = job.factor != nullptr ? job.factor + base * block : nullptr;
      if (column % job.group == 0) {
        begun = column;
        for (int64_t k = 0; k < job.group; k++) original[k] = wanted[k] = column_of(x, job.order[column + k]);
        if (factor != nullptr && job.group <= block) {
          for (int64_t k = 0; k < job.group; k += kFeedbackRows)
            take_over(e, 0, first, factor + (first + k) * block, wanted + k);
        }
        for (int64_t k = 0; k < job.group; k++) wanted[k] = or_original(wanted[k], original[k]);
        grid = find_grid(wanted, job.weights + column, job.group, job.bits, job.symmetric, job.trials);
        inverse = reciprocal(grid.scale);
        for (int lane = 0; lane < count; lane++) {
          const int64_t to = (row + lane) * groups + column / job.group;
          job.scales[to] = grid.scale[lane];
          job.offsets[to] = static_cast<uint8_t>(grid.zero[lane]);
        }
      }
      const int64_t in_group = column - begun;
      F now[kFeedbackRows];
      for (int m = 0; m < kFeedbackRows; m++) now[m] = wanted[in_group + m];
      const float* panel = factor != nullptr ? factor + first * block : nullptr;
      if (panel != nullptr) take_over(e, begun > base ? begun - base : 0, first, panel, now);
      for (int m = 0; m < kFeedbackRows; m++) {
        const F was = original[in_group + m], value = or_original(now[m], was);
        const F level = level_of(value, grid, inverse), made = level * grid.scale;
        const F lost = value - made;
        float weight = job.weights[column + m];
        if (panel != nullptr) {
          const float* c = panel + (first + m) * 16;
          weight = c[m];
          const F error = was - made;
          e[first + m] = error;
          for (int l = m + 1; l < kFeedbackRows; l++) now[l] += error * c[l];
        }
        lost_in_all += lost * lost * weight;
        const F code = level + grid.zero;
        uint8_t* to = job.codes + row * job.cols + job.order[column + m];
        for (int lane = 0; lane < count; lane++) to[lane * job.cols] = static_cast<uint8_t>(code[lane]);
      }
    }
    for (int lane = 0; lane < count; lane++) job.errors[row + lane] = static_cast<double>(lost_in_all[lane]);
  }
}

// Which of four values cost least to leave out: two of each lane.
HW_LANES void two_of_four(const F* x, const float* const* weight, I* dropped) {
  F cost[4];
  for (int m = 0; m < 4; m++) cost[m] = x[m] * x[m] * *weight[m];
  for (int m = 0; m < 4; m++) {
    I smaller = {};
    for (int l = 0; l < 4; l++) {
      if (l == m) continue;
      const I before = l < m ? cost[l] <= cost[m] : cost[l] < cost[m];
      smaller -= before;
    }
    dropped[m] = smaller < 2;
  }
}

void repair_columns(const RepairRows& job) {
  const int64_t block = job.block;
  F* e = (F*)job.scratch;
  for (int64_t row = 0; row < job.rows; row += kFeedbackRows) {
    const float* x[kFeedbackRows];
    const int count = rows_from(job.x, row, job.rows, job.cols, x);
    F lost_in_all = {};
    for (int64_t column = 0; column < job.cols; column += kFeedbackRows) {
      const int64_t base = column / block * block, first = column - base;
      const float* panel = job.factor + base * block + first * block;
      F original[kFeedbackRows], now[kFeedbackRows];
      for (int m = 0; m < kFeedbackRows; m++) original[m] = now[m] = column_of(x, job.order[column + m]);
      take_over(e, 0, first, panel, now);
      I dropped[4];
      for (int m = 0; m < kFeedbackRows; m++) {
        const float* c = panel + (first + m) * 16;
        const F value = or_original(now[m], original[m]);
        if (job.dropped == nullptr && m % 4 == 0) {
          const float* weights[4];
          for (int k = 0; k < 4; k++) weights[k] = panel + (first + m + k) * 16 + m + k;
          two_of_four(now + m, weights, dropped);
        }
        const bool gone = job.dropped != nullptr && job.dropped[column + m] != 0;
        const F made = job.dropped == nullptr ? (dropped[m % 4] ? F{} : value) : gone ? F{} : value;
        const F lost = value - made, error = original[m] - made;
        lost_in_all += lost * lost * c[m];
        e[first + m] = error;
        for (int l = m + 1; l < kFeedbackRows; l++) now[l] += error * c[l];
        float* to = job.out + row * job.cols + job.order[column + m];
        for (int lane = 0; lane < count; lane++) to[lane * job.cols] = made[lane];
      }
    }
    for (int lane = 0; lane < count; lane++) job.errors[row + lane] = static_cast<double>(lost_in_all[lane]);
  }
}

void fill_integers(Encoders* e) {
  e->integers = encode_integers;
  e->repair = repair_columns;
}

}  // namespace
}  // namespace hw
