import type { Candidates } from "./candidates.js";
import type { Rng } from "./rng.js";

/**
 * Draws one candidate by its probability. Takes one random number, also where one candidate is left: what a seed gives
 * later does not depend on how many there were.
 * @returns its token id
 */
export function draw(candidates: Candidates, rng: Rng): number {
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
