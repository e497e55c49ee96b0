/** Sums of many tokens: means, quantiles, and how far means would be elsewhere. */
import { Rng } from "../sampling/rng.js";

export interface Interval {
  readonly low: number;
  readonly high: number;
}

/** Draws of a bootstrap. */
const draws = 2000;
/** Fewer chunks are cut into runs of neighbours. */
const leastBlocks = 16;
const shortRun = 32;

export function meanOf(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** Between the neighbours of the place, which is 0 for the least and 1 for the largest. */
export function quantileOf(sorted: Float64Array, place: number): number {
  const at = place * (sorted.length - 1);
  const low = Math.floor(at);
  const high = Math.min(sorted.length - 1, low + 1);
  return sorted[low]! + (at - low) * (sorted[high]! - sorted[low]!);
}

/**
 * Tokens that are drawn together: what lies side by side in a text is alike, so single tokens would make every interval
 * too narrow. Chunks, or where those are few runs of 32 tokens.
 * @param scored tokens of a chunk
 */
export function blockTokens(tokens: number, scored: number): number {
  return tokens / scored >= leastBlocks ? scored : Math.min(scored, shortRun);
}

/** The interval in which 95 % of the means of texts of such blocks lie. */
export function meanInterval(values: Float64Array, block: number): Interval {
  return interval([values], block, ([sum], tokens) => sum! / tokens);
}

/** The same of the ratio of two means, of which both see the same blocks. */
export function ratioInterval(values: Float64Array, base: Float64Array, block: number): Interval {
  return interval([values, base], block, ([a, b]) => a! / b!);
}

function interval(
  all: readonly Float64Array[],
  block: number,
  of: (sums: readonly number[], tokens: number) => number,
): Interval {
  const length = all[0]!.length;
  const blocks = Math.ceil(length / block);
  const sums = all.map((values) => {
    const found = new Float64Array(blocks);
    for (let i = 0; i < length; i++) found[Math.floor(i / block)]! += values[i]!;
    return found;
  });
  const rng = new Rng(1);
  const results = new Float64Array(draws);
  for (let draw = 0; draw < draws; draw++) {
    const drawn = all.map(() => 0);
    let tokens = 0;
    for (let i = 0; i < blocks; i++) {
      const at = Math.floor(rng.uniform() * blocks);
      for (const [n, found] of sums.entries()) drawn[n]! += found[at]!;
      tokens += Math.min(block, length - at * block);
    }
    results[draw] = of(drawn, tokens);
  }
  results.sort();
  return { low: quantileOf(results, 0.025), high: quantileOf(results, 0.975) };
}

/** Numbers that come one by one. */
export class Series {
  private values = new Float64Array(1024);
  length = 0;

  push(value: number): void {
    if (this.length === this.values.length) {
      const more = new Float64Array(2 * this.length);
      more.set(this.values);
      this.values = more;
    }
    this.values[this.length++] = value;
  }

  /** All of them; valid until the next one. */
  get all(): Float64Array {
    return this.values.subarray(0, this.length);
  }
}
