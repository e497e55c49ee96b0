/** Natural logarithms of probabilities, as they are reported: of the model's own logits, before anything sampling does. */
import type { TokenLogprobs } from "./protocol.js";

/** More would make an event larger than a page of text; OpenAI's limit is 20. */
export const mostTopLogprobs = 128;

/** log(sum of exp) of a row, in double precision. */
function logSum(logits: Float32Array): number {
  let max = -Infinity;
  for (let i = 0; i < logits.length; i++) if (logits[i]! > max) max = logits[i]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - max);
  return max + Math.log(sum);
}

/** log p(target) under a row of logits, in double precision. */
export function logProbability(logits: Float32Array, target: number): number {
  return logits[target]! - logSum(logits);
}

/** log p(id) and the `top` likeliest tokens, equal ones by id. */
export function tokenLogprobs(logits: Float32Array, id: number, top: number): TokenLogprobs {
  const total = logSum(logits);
  return {
    id,
    logprob: logits[id]! - total,
    top: likeliest(logits, Math.min(top, logits.length)).map((v) => ({ id: v, logprob: logits[v]! - total })),
  };
}

/** Ids of the `count` largest logits, best first: a sorted list of them over one scan, for `count` is small. */
function likeliest(logits: Float32Array, count: number): number[] {
  const best: number[] = [];
  if (count === 0) return best;
  for (let id = 0; id < logits.length; id++) {
    const value = logits[id]!;
    if (best.length === count && !(value > logits[best[count - 1]!]!)) continue;
    let at = best.length === count ? count - 1 : best.length;
    for (; at > 0 && value > logits[best[at - 1]!]!; at--) best[at] = best[at - 1]!;
    best[at] = id;
  }
  return best;
}
