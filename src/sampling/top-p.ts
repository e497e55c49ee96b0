import type { Candidates } from "./candidates.js";

/** Below so many candidates a heap of all is cheap. */
const fewCandidates = 1024;

/**
 * Keeps the smallest set of best candidates whose probabilities reach `p`, at least `minKeep` and one; 1 or more keeps
 * all.
 * @source Holtzman et al., The Curious Case of Neural Text Degeneration (nucleus sampling)
 */
export function topP(candidates: Candidates, p: number, minKeep = 0): void {
  if (p >= 1) return;
  const best = candidates.logits[candidates.best()]!;
  const total = candidates.softmax();
  const enough = p * total;
  // All candidates below half of the rest's share each can, together, not be needed to reach p; where 1 - p is far
  // above the rounding of the sums they go before anything is sorted.
  const { size } = candidates;
  if (!candidates.sorted && size > fewCandidates && 1 - p > 1e-6 && minKeep <= 1) {
    candidates.keepFrom(best + Math.log((0.5 * (1 - p) * total) / size));
  }
  let sum = 0;
  let kept = 0;
  candidates.keepWhile((i) => {
    sum += Math.exp(candidates.logits[i]! - best);
    kept++;
    return sum < enough || kept < minKeep;
  });
}
