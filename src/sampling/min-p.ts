import type { Candidates } from "./candidates.js";

/**
 * Keeps the candidates at least `p` times as likely as the best one, at least `minKeep` and one; 0 or less keeps all.
 * @source Nguyen et al., Min-p Sampling for Creative and Coherent LLM Outputs
 */
export function minP(candidates: Candidates, p: number, minKeep = 0): void {
  if (p <= 0) return;
  const { logits, size } = candidates;
  const best = logits[candidates.best()]!;
  const least = Math.min(best, best + Math.log(p));
  let kept = 0;
  for (let i = 0; i < size; i++) if (logits[i]! >= least) kept++;
  if (kept < minKeep) candidates.keepBest(minKeep);
  else candidates.keepFrom(least);
}
