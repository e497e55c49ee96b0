import type { Candidates } from "./candidates.js";
import type { Rng } from "./rng.js";

/** Draws one candidate by its probability.  @returns its token id */
export function draw(candidates: Candidates, rng: Rng): number {
  if (candidates.size === 1) return candidates.ids[0]!;
  return candidates.ids[drawIndex(candidates, rng, candidates.softmax())]!;
}

/** @param sum what `softmax` returned: the weights are there  @returns the index of the candidate */
export function drawIndex(candidates: Candidates, rng: Rng, sum: number): number {
  const { weights, size } = candidates;
  let left = rng.uniform() * sum;
  let last = 0;
  for (let i = 0; i < size; i++) {
    if (weights[i]! === 0) continue;
    last = i;
    left -= weights[i]!;
    if (left < 0) break;
  }
  return last;
}
