import type { Candidates } from "./candidates.js";

/**
 * Keeps the candidates at least `p` times as likely as the best one, at least one; 0 or less keeps all.
 * @source Nguyen et al., Min-p Sampling for Creative and Coherent LLM Outputs
 */
export function minP(candidates: Candidates, p: number): void {
  if (p <= 0) return;
  const { ids, logits, size } = candidates;
  const best = candidates.best();
  const bestId = ids[best]!;
  const bestLogit = logits[best]!;
  const least = bestLogit + Math.log(p);
  let kept = 0;
  for (let i = 0; i < size; i++) {
    const logit = logits[i]!;
    if (logit < least) continue;
    ids[kept] = ids[i]!;
    logits[kept++] = logit;
  }
  if (kept === 0) {
    ids[0] = bestId;
    logits[0] = bestLogit;
    kept = 1;
  }
  candidates.size = kept;
}
