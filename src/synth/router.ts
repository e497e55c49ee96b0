/**
 * Routers that prefer some experts, as trained ones do. Logits of a random router are normal with the norm of the row
 * as their deviation, so a longer row is chosen more often: norms are solved for popularities that fall like 1 /
 * rank^skew.
 */
import { seededWords } from "./random.js";

/** A longer row can make an expert at most the choice of every other token: half of its logits are negative. */
const maxPopular = 0.45;

/**
 * Factor of each router row, by popularity rank; their mean square is 1. All ones when `skew` is 0, or when so large a
 * part of the experts is chosen that norms cannot tell them apart.
 * @shape [experts]
 */
export function rowFactors(experts: number, topK: number, skew: number): Float64Array {
  const factors = new Float64Array(experts).fill(1);
  if (skew === 0 || topK >= maxPopular * experts) return factors;
  const popularity = popularities(experts, topK, skew);
  // P(s z > t) = p  <=>  s = t / quantile(1 - p); t cancels in the normalisation.
  for (let r = 0; r < experts; r++) factors[r] = 1 / normalQuantile(1 - popularity[r]!);
  const rms = Math.sqrt(factors.reduce((sum, s) => sum + s * s, 0) / experts);
  return factors.map((s) => s / rms);
}

/** Share of the tokens that choose the expert of each rank: c / rank^skew, capped, topK in sum. */
export function popularities(experts: number, topK: number, skew: number): Float64Array {
  const weights = Float64Array.from({ length: experts }, (_, r) => (r + 1) ** -skew);
  const at = (c: number) => weights.map((w) => Math.min(maxPopular, c * w));
  const c = bisect((value) => at(value).reduce((a, b) => a + b, 0) - topK, 0, topK * experts ** Math.max(1, skew));
  return at(c);
}

/** Which expert has which rank in a layer: a random permutation. */
export function ranks(experts: number, seed: number, name: string): Int32Array {
  const order = Int32Array.from({ length: experts }, (_, i) => i);
  const words = seededWords(seed, `ranks ${name}`);
  for (let i = experts - 1; i > 0; i--) {
    const j = words() % (i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

function normalQuantile(p: number): number {
  return bisect((x) => normalCdf(x) - p, -8, 8);
}

/** @source Abramowitz and Stegun 26.2.17; error below 7.5e-8 */
function normalCdf(x: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(x));
  const poly = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const tail = (Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI)) * poly;
  return x >= 0 ? 1 - tail : tail;
}

/** Root of an increasing function. */
function bisect(f: (x: number) => number, low: number, high: number): number {
  for (let i = 0; i < 80; i++) {
    const middle = (low + high) / 2;
    if (f(middle) < 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
