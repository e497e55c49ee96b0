import type { Candidates } from "./candidates.js";

/**
 * Keeps the smallest set of best candidates whose probabilities reach `p`, at least one; 1 or more keeps all.
 * @source Holtzman et al., The Curious Case of Neural Text Degeneration (nucleus sampling)
 */
export function topP(candidates: Candidates, p: number): void {
  if (p >= 1) return;
  const best = candidates.logits[candidates.best()]!;
  const enough = p * candidates.softmax();
  let sum = 0;
  candidates.keepWhile((i) => {
    sum += Math.exp(candidates.logits[i]! - best);
    return sum < enough;
  });
}
