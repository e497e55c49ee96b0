/** How far one row of logits is from another: exact softmax in double precision. */
import { loadAddon } from "../native/addon.js";
import { topLogprobs } from "../sampling/logprobs.js";

/** The distance of a model's row from the reference's. */
export interface Divergence {
  /** KL(reference, model) in nats; exactly 0 for a row of equal logits. */
  readonly kl: number;
  /** Negative log-probability of the token that came. */
  readonly nll: number;
  readonly sameTop: boolean;
}

/** A reference's row: of it all rows of other models are judged. */
export interface ReferenceRow {
  readonly nll: number;
  compare(row: Float32Array, next: number): Divergence;
}

interface Normalized {
  readonly best: number;
  readonly max: number;
  /** The logarithm of the sum of e^(logit - max). */
  readonly logSum: number;
}

/** @throws MODEL_INVALID when a logit is not finite */
export function normalize(row: Float32Array): Normalized {
  const scans = loadAddon() ?? {};
  const [first] = topLogprobs(row, 0, 1, scans).top;
  const best = first!.id;
  return { best, max: row[best]!, logSum: -first!.logprob };
}

/** The whole row of a reference. */
export class LiveRow implements ReferenceRow {
  private readonly weights: Float64Array;
  private row: Float32Array = new Float32Array(0);
  private own: Normalized = { best: 0, max: 0, logSum: 0 };
  nll = 0;

  constructor(vocab: number) {
    this.weights = new Float64Array(vocab);
  }

  /** Takes the next row of the reference, which has to stay as long as others are compared with it. */
  take(row: Float32Array, next: number): this {
    this.row = row;
    this.own = normalize(row);
    this.nll = nllOf(row, next, this.own);
    const { max } = this.own;
    for (let i = 0; i < row.length; i++) this.weights[i] = Math.exp(row[i]! - max);
    return this;
  }

  compare(row: Float32Array, next: number): Divergence {
    const other = normalize(row);
    const { row: own, weights } = this;
    // Sum of p (x - y), both as differences to their largest: what is equal adds exactly nothing.
    const shift = this.own.max - other.max;
    let sum = 0;
    for (let from = 0; from < row.length; from += block) {
      const to = Math.min(row.length, from + block);
      let part = 0;
      for (let i = from; i < to; i++) part += weights[i]! * (own[i]! - row[i]! - shift);
      sum += part;
    }
    const kl = sum / Math.exp(this.own.logSum) - this.own.logSum + other.logSum;
    return { kl, nll: nllOf(row, next, other), sameTop: other.best === this.own.best };
  }
}

/** Terms of a partial sum: what rounding adds stays small. */
const block = 512;

export const nllOf = (row: Float32Array, next: number, { max, logSum }: Normalized): number =>
  max + logSum - row[next]!;
