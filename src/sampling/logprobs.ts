/** Log-probabilities as the model itself gave them, before anything here changed its logits. */
import { type BestScan, Candidates } from "./candidates.js";

/** Natural logarithms of probabilities before sampling's temperature and cuts; the likeliest first. */
export interface TokenLogprobs {
  readonly id: number;
  readonly logprob: number;
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
}

/** Scans of a row that are faster elsewhere. */
export interface RowScans {
  readonly bestLogits?: BestScan;
  readonly sumOfExp?: (row: Float32Array, max: number) => number;
}

/** The best so far; grows to the largest count that was asked for. */
let scratch = new Candidates(32);
let scratchScan: BestScan | undefined;

/**
 * Log-softmax of a row at `id` and at its `count` likeliest tokens. Allocates nothing but the result.
 * @param logits [vocab], of any finite values
 * @throws MODEL_INVALID when a logit is not finite
 */
export function topLogprobs(logits: Float32Array, id: number, count: number, scans: RowScans = {}): TokenLogprobs {
  const wanted = Math.min(Math.max(count, 0), logits.length);
  if (wanted > scratch.ids.length || scans.bestLogits !== scratchScan) {
    scratchScan = scans.bestLogits;
    scratch = new Candidates(Math.max(wanted, scratch.ids.length), scratchScan);
  }
  const { ids, logits: best } = scratch;
  // At least one: the scan finds the largest logit and refuses what is not finite.
  scratch.loadBest(logits, Math.max(wanted, 1));
  const max = best[0]!;
  const logSum = Math.log((scans.sumOfExp ?? sumOfExp)(logits, max));
  const top: { id: number; logprob: number }[] = [];
  for (let i = 0; i < wanted; i++) top.push({ id: ids[i]!, logprob: best[i]! - max - logSum });
  return { id, logprob: logits[id]! - max - logSum, top };
}

/** Terms of a partial sum. Relative error of the whole: at most (block + vocab / block) * 2^-53, 1e-13 at 262,144. */
const block = 512;

/** Sum of exp(logit - max). */
function sumOfExp(logits: Float32Array, max: number): number {
  let sum = 0;
  for (let from = 0; from < logits.length; from += block) {
    const to = Math.min(from + block, logits.length);
    let part = 0;
    for (let i = from; i < to; i++) part += Math.exp(logits[i]! - max);
    sum += part;
  }
  return sum;
}
