/** The types of least predicted damage that fit into so many bytes. */
import type { Candidate, Choice } from "./candidates.js";

/** One candidate of each tensor, in their order. */
export type Assignment = readonly Candidate[];

export const bytesOf = (assignment: Assignment): number => assignment.reduce((sum, { bytes }) => sum + bytes, 0);

/**
 * A price per byte is found by halving, at which what is chosen just fits; what is left over then buys the best of the
 * remaining steps.
 * @param weights damage of each tensor's error
 * @returns undefined where not even the smallest candidates fit
 */
export function solve(choices: readonly Choice[], weights: readonly number[], budget: number): Assignment | undefined {
  const at = (price: number): Candidate[] =>
    choices.map(({ candidates }, i) => {
      let best = candidates[0]!;
      let least = Infinity;
      for (const candidate of candidates) {
        const cost = weights[i]! * candidate.error + price * candidate.bytes;
        if (cost < least) [best, least] = [candidate, cost];
      }
      return best;
    });
  const smallest = choices.map(({ candidates }) => candidates[0]!);
  if (bytesOf(smallest) > budget) return undefined;
  let [low, high] = [-60, 10];
  if (bytesOf(at(2 ** low)) <= budget) return at(2 ** low);
  for (let step = 0; step < 80; step++) {
    const middle = (low + high) / 2;
    if (bytesOf(at(2 ** middle)) <= budget) high = middle;
    else low = middle;
  }
  const fits = at(2 ** high);
  return fill(choices, weights, bytesOf(fits) <= budget ? fits : smallest, budget);
}

/** Steps to larger candidates, the most damage saved per byte first, as long as they fit. */
function fill(
  choices: readonly Choice[],
  weights: readonly number[],
  from: readonly Candidate[],
  budget: number,
): Candidate[] {
  const chosen = [...from];
  let left = budget - bytesOf(chosen);
  for (;;) {
    let best: { readonly i: number; readonly to: Candidate; readonly gain: number } | undefined;
    for (const [i, { candidates }] of choices.entries())
      for (const to of candidates) {
        const more = to.bytes - chosen[i]!.bytes;
        if (more <= 0 || more > left) continue;
        const gain = (weights[i]! * (chosen[i]!.error - to.error)) / more;
        if (gain > (best?.gain ?? 0)) best = { i, to, gain };
      }
    if (best === undefined) return chosen;
    left -= best.to.bytes - chosen[best.i]!.bytes;
    chosen[best.i] = best.to;
  }
}
