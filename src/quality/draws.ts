/**
 * A row of logits as tokens drawn from it. The share of the draws that a token has is an unbiased estimate of its
 * probability, where the likeliest tokens alone leave the tail out and so make every one of themselves too likely.
 * @source Anshumann et al. 2025, "Sparse Logit Sampling: Accelerating Knowledge Distillation in LLMs"
 */
import type { Rng } from "../sampling/rng.js";
import { type Divergence, nllOf, normalize, type ReferenceRow } from "./divergence.js";

/**
 * One draw in each of `draws` equal parts of the whole probability: as unbiased as draws that know nothing of each
 * other, and with less spread.
 * @param logSum the logarithm of the sum of e^logit
 * @returns ids, ascending, a token as often as it was drawn
 */
export function drawTokens(logits: Float32Array, logSum: number, draws: number, rng: Rng): Int32Array {
  const ids = new Int32Array(draws);
  let [drawn, below] = [0, 0];
  let goal = rng.uniform() / draws;
  for (let id = 0; id < logits.length && drawn < draws; id++) {
    below += Math.exp(logits[id]! - logSum);
    while (drawn < draws && below > goal) {
      ids[drawn++] = id;
      goal = (drawn + rng.uniform()) / draws;
    }
  }
  // Rounding may leave the sum a little below one.
  return drawn < draws ? ids.fill(normalize(logits).best, drawn).sort() : ids;
}

/** A reference's row of which some draws are known: the divergence is an unbiased estimate, and may be below 0. */
export class DrawnRow implements ReferenceRow {
  readonly nll: number;
  readonly #best: number;
  readonly #ids: Int32Array;
  readonly #logits: Float32Array;
  readonly #logSum: number;

  constructor(best: number, ids: Int32Array, logits: Float32Array, logSum: number, nll: number) {
    this.nll = nll;
    [this.#best, this.#ids, this.#logits, this.#logSum] = [best, ids, logits, logSum];
  }

  compare(row: Float32Array, next: number): Divergence {
    const other = normalize(row);
    const shift = this.#logSum - (other.max + other.logSum);
    let sum = 0;
    for (const [i, id] of this.#ids.entries()) sum += this.#logits[i]! - row[id]! - shift;
    return { kl: sum / this.#ids.length, nll: nllOf(row, next, other), sameTop: other.best === this.#best };
  }
}
