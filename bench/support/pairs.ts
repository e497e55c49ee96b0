/** Old against new in pairs: the median of the ratios and what it may be by chance. */
import { median } from "../../src/cli/reports/statistics.js";

export interface RatioInterval {
  readonly median: number;
  /** Bounds of the 95 % interval of the median. */
  readonly low: number;
  readonly high: number;
}

/**
 * Each of n values is below the median by the toss of a coin: the k-th smallest and the k-th largest enclose it with at
 * least 95 %, k by the binomial distribution. Fewer than six pairs say nothing that sure: the extremes are given then.
 */
export function ratioInterval(ratios: readonly number[]): RatioInterval {
  const sorted = [...ratios].sort((a, b) => a - b);
  const n = sorted.length;
  let outside = 0;
  let probability = 2 ** -n;
  let k = 0;
  for (let i = 0; i < n / 2; i++) {
    outside += 2 * probability;
    if (outside > 0.05) break;
    k = i + 1;
    probability *= (n - i) / (i + 1);
  }
  const at = Math.max(0, k - 1);
  return { median: median(sorted), low: sorted[at]!, high: sorted[n - 1 - at]! };
}
