import type { Candidates } from "./candidates.js";

/**
 * Keeps the candidates whose surprise is nearest to the expected surprise (the entropy) until their probabilities
 * exceed `p`, at least `minKeep` and one; 1 or more keeps all.
 * @source Meister et al., Locally Typical Sampling
 */
export function typical(candidates: Candidates, p: number, minKeep = 0): void {
  if (p >= 1) return;
  const { logits, weights } = candidates;
  const sum = candidates.softmax();
  const logSum = Math.log(sum) + logits[candidates.best()]!;
  let entropy = 0;
  for (let i = 0; i < candidates.size; i++) {
    // A banned token (logit -Infinity) has probability 0 and adds nothing: 0 * Infinity would be NaN.
    if (weights[i]! > 0) entropy += (weights[i]! / sum) * (logSum - logits[i]!);
  }
  // The order of `keepWhile` is by logit: let the distance from the entropy stand there, and restore afterwards.
  for (let i = 0; i < candidates.size; i++) {
    weights[candidates.ids[i]!] = logits[i]!;
    logits[i] = -Math.abs(logSum - logits[i]! - entropy);
  }
  candidates.sorted = false;
  let cumulative = 0;
  let kept = 0;
  candidates.keepWhile((i) => {
    cumulative += Math.exp(weights[candidates.ids[i]!]! - logSum);
    kept++;
    return cumulative <= p || kept < minKeep;
  });
  for (let i = 0; i < candidates.size; i++) logits[i] = weights[candidates.ids[i]!]!;
  candidates.sorted = false;
  candidates.keepBest(candidates.size);
}
