/**
 * Least-squares fits for the types whose encoder is free: several starting scales are tried, values are rounded with
 * each, scale (and minimum) are solved for in closed form, and the smallest squared error wins. All values weigh the
 * same.
 */
import { iq4Values } from "../formats/codebooks.js";

const { abs, max, min, round } = Math;

/** x ~ scale * q - minimum with q in 0..top and minimum >= 0, as Q2_K, Q4_K and Q5_K have it. */
export function fitWithMinimum(
  x: Float32Array,
  o: number,
  n: number,
  top: number,
): { readonly scale: number; readonly minimum: number } {
  let low = 0;
  let high = x[o]!;
  let sumX = 0;
  let sumXX = 0;
  for (let i = 0; i < n; i++) {
    const v = x[o + i]!;
    low = min(low, v);
    high = max(high, v);
    sumX += v;
    sumXX += v * v;
  }
  if (high <= low) return { scale: 0, minimum: -low };
  let best = { scale: (high - low) / top, minimum: -low };
  let error = Number.POSITIVE_INFINITY;
  // From one level less than the range to one more: the ends may be clipped when that serves the rest.
  for (let step = -10; step <= 10; step++) {
    const inverse = (top + step / 10) / (high - low);
    let sumQ = 0;
    let sumQQ = 0;
    let sumXQ = 0;
    for (let i = 0; i < n; i++) {
      const q = max(0, min(top, round(inverse * (x[o + i]! - low))));
      sumQ += q;
      sumQQ += q * q;
      sumXQ += x[o + i]! * q;
    }
    const determinant = n * sumQQ - sumQ * sumQ;
    if (determinant <= 0) continue;
    let scale = (n * sumXQ - sumX * sumQ) / determinant;
    let minimum = (scale * sumQ - sumX) / n;
    if (minimum < 0) {
      minimum = 0;
      scale = sumXQ / sumQQ;
    }
    if (scale <= 0) continue;
    // Sum of (scale q - minimum - x)^2, expanded.
    const squares =
      scale * scale * sumQQ +
      n * minimum * minimum +
      sumXX -
      2 * scale * minimum * sumQ -
      2 * scale * sumXQ +
      2 * minimum * sumX;
    if (squares < error) {
      error = squares;
      best = { scale, minimum };
    }
  }
  return best;
}

/** The scale of x ~ scale * value(q) that keeps most of x, over starting scales `starts`. */
function fitScale(
  x: Float32Array,
  o: number,
  n: number,
  starts: Iterable<number>,
  value: (scaled: number) => number,
): number {
  let best = 0;
  let kept = 0;
  for (const inverse of starts) {
    let sumVV = 0;
    let sumXV = 0;
    for (let i = 0; i < n; i++) {
      const v = value(x[o + i]! * inverse);
      sumVV += v * v;
      sumXV += x[o + i]! * v;
    }
    // The squared error at the best scale is sum(x^2) minus this. Among equals up to rounding the first start wins:
    // for a lone value that is the one whose scale is x over a power of two, which f16 holds exactly.
    if (sumVV > 0 && sumXV * sumXV > kept * sumVV * (1 + 1e-9)) {
      kept = (sumXV * sumXV) / sumVV;
      best = sumXV / sumVV;
    }
  }
  return best;
}

function extreme(x: Float32Array, o: number, n: number): number {
  let found = 0;
  for (let i = 0; i < n; i++) if (abs(x[o + i]!) > abs(found)) found = x[o + i]!;
  return found;
}

/** x ~ scale * q with q in -half..half-1: the extreme value goes to the longer, negative side. 0 for a zero block. */
export function fitSymmetric(x: Float32Array, o: number, n: number, half: number): number {
  const peak = extreme(x, o, n);
  if (abs(peak) < 1e-30) return 0;
  const starts = [-half / peak];
  for (let step = 1; step <= 9; step++) starts.push(-(half + step / 10) / peak, -(half - step / 10) / peak);
  return fitScale(x, o, n, starts, (v) => max(-half, min(half - 1, round(v))));
}

/** x ~ scale * iq4Values[q]; both signs are tried because the table reaches -127 but only +113. */
export function fitIq4(x: Float32Array, o: number, n: number): number {
  const peak = extreme(x, o, n);
  if (abs(peak) < 1e-30) return 0;
  const starts: number[] = [];
  for (let step = -7; step <= 7; step++) starts.push((iq4Values[0]! + step) / peak, (iq4Values[15]! + step) / peak);
  return fitScale(x, o, n, starts, (v) => iq4Values[iq4Index(v)]!);
}

/** Index of the nearest entry of the table, by halving. */
export function iq4Index(v: number): number {
  let low = 0;
  let high = 15;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (2 * v > iq4Values[middle]! + iq4Values[middle + 1]!) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** 32 values as nibbles, the first 16 low; `scale` is the decoded one. */
export function packIq4(x: Float32Array, o: number, b: Uint8Array, qs: number, scale: number): void {
  const inverse = scale === 0 ? 0 : 1 / scale;
  for (let i = 0; i < 16; i++) {
    b[qs + i] = iq4Index(x[o + i]! * inverse) | (iq4Index(x[o + 16 + i]! * inverse) << 4);
  }
}
