// The searches for scales, of sixteen blocks at once: for each lane the numbers of llama.cpp's searches, step by step,
// so that the files are the same bytes. Source: llama.cpp, ggml/src/ggml-quants.c (docs/compress.md names what does
// what).
namespace hw {
namespace {

constexpr float kNothing = 1e-15f;

// Code i of a block is round(code_scale * (x - code_min)), within the range of codes.
struct ScaleAndMin {
  F scale, min, code_scale, code_min;
};

// How inverse scales are tried: (first + step * k + nmax) / (max - min), k = 0 ... steps.
struct Trials {
  float first, step;
  int steps;
  bool absolute;  // errors are magnitudes instead of squares
};

// Values scale * code - min of codes 0 ... nmax; min is never negative.
inline void search_scale_and_min(int n, int nmax, const F* x, const F* w, const Trials& trials, ScaleAndMin* out) {
  F min = x[0], max = x[0], sum_w = w[0], sum_x = sum_w * x[0];
  for (int i = 1; i < n; i++) {
    min = x[i] < min ? x[i] : min;
    max = x[i] > max ? x[i] : max;
    sum_w += w[i];
    sum_x += w[i] * x[i];
  }
  min = min > 0.0f ? F{} : min;
  const I live = max > min;
  const F least = min;
  F codes[32];
  F inverse = spread(static_cast<float>(nmax)) / (max - min);
  F scale = 1.0f / inverse, error = F{};
  F code_scale = inverse, code_min = min;
  for (int i = 0; i < n; i++) {
    const F code = to_float(clamp(nearest(inverse * (x[i] - min)), 0, nmax));
    F diff = scale * code + min - x[i];
    diff = trials.absolute ? magnitude(diff) : diff * diff;
    error += w[i] * diff;
  }
  for (int k = 0; k <= trials.steps; k++) {
    // From the smallest value of the best fit so far.
    inverse = spread(trials.first + trials.step * static_cast<float>(k) + static_cast<float>(nmax)) / (max - min);
    F sum_l = F{}, sum_l2 = F{}, sum_xl = F{};
    for (int i = 0; i < n; i++) {
      const F code = to_float(clamp(nearest(inverse * (x[i] - min)), 0, nmax));
      codes[i] = code;
      const F wl = w[i] * code;
      sum_l += wl;
      sum_l2 += wl * code;
      sum_xl += wl * x[i];
    }
    const F det = sum_w * sum_l2 - sum_l * sum_l;
    F new_scale = (sum_w * sum_xl - sum_x * sum_l) / det;
    F new_min = (sum_l2 * sum_x - sum_l * sum_xl) / det;
    const I positive = new_min > 0.0f;
    new_scale = positive ? sum_xl / sum_l2 : new_scale;
    new_min = positive ? F{} : new_min;
    F new_error = F{};
    for (int i = 0; i < n; i++) {
      F diff = new_scale * codes[i] + new_min - x[i];
      diff = trials.absolute ? magnitude(diff) : diff * diff;
      new_error += w[i] * diff;
    }
    const I better = (det > 0.0f) & (new_error < error);
    code_scale = better ? inverse : code_scale;
    code_min = better ? min : code_min;
    error = better ? new_error : error;
    scale = better ? new_scale : scale;
    min = better ? new_min : min;
  }
  out->scale = live ? scale : F{};
  out->min = live ? -min : -least;
  out->code_scale = live ? code_scale : F{};
  out->code_min = live ? code_min : least;
}

// Code i of a block is nmax + round(code_scale * x), within the range of codes; a code_scale of 0 means code 0.
struct SignedScale {
  F scale, code_scale;
};

// Values scale * code of codes -nmax ... nmax - 1.
inline void search_signed_scale(int n, int nmax, const F* x, const F* w, SignedScale* out) {
  F largest = F{}, extreme = F{};
  for (int i = 0; i < n; i++) {
    const F m = magnitude(x[i]);
    extreme = m > largest ? x[i] : extreme;
    largest = m > largest ? m : largest;
  }
  const I live = largest >= kNothing;
  F scale = F{}, best = F{}, code_scale = F{};
  for (int k = -10; k <= 9; k++) {
    // First the plain one, then those beside it.
    if (k == 0) continue;
    const bool first = k == -10;
    const float top = first ? static_cast<float>(-nmax) : -(static_cast<float>(nmax) + 0.1f * static_cast<float>(k));
    const F inverse = spread(top) / extreme;
    F sum_lx = F{}, sum_l2 = F{};
    for (int i = 0; i < n; i++) {
      const F code = to_float(clamp(nearest(inverse * x[i]), -nmax, nmax - 1));
      sum_lx += w[i] * x[i] * code;
      sum_l2 += w[i] * code * code;
    }
    const I better = first ? live : live & (sum_l2 > 0.0f) & (sum_lx * sum_lx > best * sum_l2);
    const F fitted = sum_l2 != 0.0f ? sum_lx / sum_l2 : F{};
    scale = better ? fitted : scale;
    best = better ? scale * sum_lx : best;
    code_scale = better ? inverse : code_scale;
  }
  out->scale = scale;
  out->code_scale = code_scale;
}

// As above with the square of a value as its weight, codes moved one by one to what the others' best scale asks for.
// codes: [n] within 0 ... 2 nmax - 1.
HW_APART F descend_signed_codes(int n, int nmax, const F* x, F* codes) {
  F largest = F{}, extreme = F{};
  for (int i = 0; i < n; i++) {
    const F m = magnitude(x[i]);
    extreme = m > largest ? x[i] : extreme;
    largest = m > largest ? m : largest;
  }
  const I live = largest >= kNothing;
  const F inverse = spread(static_cast<float>(-nmax)) / extreme;
  F sum_lx = F{}, sum_l2 = F{};
  for (int i = 0; i < n; i++) {
    codes[i] = to_float(clamp(nearest(inverse * x[i]), -nmax, nmax - 1));
    const F w = x[i] * x[i];
    sum_lx += w * x[i] * codes[i];
    sum_l2 += w * codes[i] * codes[i];
  }
  for (int round = 0; round < 5; round++) {
    I changed = I{};
    for (int i = 0; i < n; i++) {
      const F w = x[i] * x[i];
      F lx = sum_lx - w * x[i] * codes[i];
      F l2 = sum_l2 - w * codes[i] * codes[i];
      I take = live & (lx > 0.0f);
      const F code = to_float(clamp(nearest(x[i] * l2 / lx), -nmax, nmax - 1));
      take &= code != codes[i];
      lx += w * x[i] * code;
      l2 += w * code * code;
      take &= (l2 > 0.0f) & (lx * lx * sum_l2 > sum_lx * sum_lx * l2);
      codes[i] = take ? code : codes[i];
      sum_lx = take ? lx : sum_lx;
      sum_l2 = take ? l2 : sum_l2;
      changed |= take;
    }
    if (!any(changed)) break;
  }
  for (int i = 0; i < n; i++) codes[i] = live ? codes[i] + static_cast<float>(nmax) : F{};
  return (live & (sum_l2 > 0.0f)) ? sum_lx / sum_l2 : F{};
}

// Values scale * code of codes 0 ... nmax, for the scales of a super-block. A code is kept in eight bits.
inline F search_unsigned_scale(int n, int nmax, const F* x, const F* w, I* codes) {
  F max = F{};
  for (int i = 0; i < n; i++) max = max > x[i] ? max : x[i];
  const I live = max >= kNothing;
  F inverse = spread(static_cast<float>(nmax)) / max;
  F error = F{};
  const F plain = 1.0f / inverse;
  for (int i = 0; i < n; i++) {
    const F diff = x[i] - plain * to_float(nearest(inverse * x[i]) & 255);
    error += w[i] * diff * diff;
  }
  for (int k = -4; k <= 4; k++) {
    if (k == 0) continue;
    const F tried = spread(0.1f * static_cast<float>(k) + static_cast<float>(nmax)) / max;
    const F scale = 1.0f / tried;
    F new_error = F{};
    for (int i = 0; i < n; i++) {
      const I code = nearest(tried * x[i]);
      const F diff = x[i] - scale * to_float(code > nmax ? I{} + nmax : code);
      new_error += w[i] * diff * diff;
    }
    const I better = new_error < error;
    error = better ? new_error : error;
    inverse = better ? tried : inverse;
  }
  F sum_lx = F{}, sum_l2 = F{};
  for (int i = 0; i < n; i++) {
    I code = nearest(inverse * x[i]);
    code = code > nmax ? I{} + nmax : code;
    codes[i] = code & 255;
    const F l = to_float(code);
    sum_lx += w[i] * x[i] * l;
    sum_l2 += w[i] * l * l;
  }
  for (int round = 0; round < 5; round++) {
    I changed = I{};
    for (int i = 0; i < n; i++) {
      const F old = to_float(codes[i]);
      F lx = sum_lx - w[i] * x[i] * old;
      F l2 = sum_l2 - w[i] * old * old;
      I take = live & (lx > 0.0f) & (l2 > 0.0f);
      I code = nearest(x[i] * l2 / lx);
      code = code > nmax ? I{} + nmax : code;
      take &= code != codes[i];
      const F l = to_float(code);
      lx += w[i] * x[i] * l;
      l2 += w[i] * l * l;
      take &= lx * lx * sum_l2 > sum_lx * sum_lx * l2;
      codes[i] = take ? code & 255 : codes[i];
      sum_lx = take ? lx : sum_lx;
      sum_l2 = take ? l2 : sum_l2;
      changed |= take;
    }
    if (!any(changed)) break;
  }
  for (int i = 0; i < n; i++) codes[i] = live ? codes[i] : I{};
  return (live & (sum_l2 > 0.0f)) ? sum_lx / sum_l2 : F{};
}

}  // namespace
}  // namespace hw
