/** Figures of repeated runs. */

/** The middle value; of an even number the mean of the two in the middle. NaN of nothing. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Tokens per second of repeated runs. */
export interface Rates {
  /** The value of each run, in order. */
  readonly runs: readonly number[];
  readonly medianTps: number;
  readonly minTps: number;
  readonly maxTps: number;
}

export function summarizeRates(runs: readonly number[]): Rates {
  return { runs, medianTps: median(runs), minTps: Math.min(...runs), maxTps: Math.max(...runs) };
}
