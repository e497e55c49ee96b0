import type { Candidates } from "./candidates.js";

/**
 * Gives every logit more than `n` standard deviations below the best one the probability 0. The tokens stay candidates,
 * as in llama.cpp: dynamic temperature counts them. 0 or less, or one candidate: nothing.
 * @source Tang et al., Top-nsigma: Not All Logits Are You Need
 */
export function topNSigma(candidates: Candidates, n: number): void {
  if (n <= 0 || candidates.size <= 1) return;
  maskBelow(candidates, sigmaThreshold(candidates, n));
}

/** The least logit that is kept; banned tokens (-Infinity) count for neither mean nor deviation. */
export function sigmaThreshold(candidates: Candidates, n: number): number {
  const { logits, size } = candidates;
  let sum = 0;
  let count = 0;
  let max = -Infinity;
  for (let i = 0; i < size; i++) {
    const logit = logits[i]!;
    if (logit === -Infinity) continue;
    sum += logit;
    count++;
    if (logit > max) max = logit;
  }
  const mean = sum / count;
  let squares = 0;
  for (let i = 0; i < size; i++) {
    const off = logits[i]! - mean;
    if (off !== -Infinity) squares += off * off;
  }
  return max - n * Math.sqrt(squares / count);
}

/** Logits below `least` become -Infinity. */
export function maskBelow(candidates: Candidates, least: number): void {
  const { logits, size } = candidates;
  for (let i = 0; i < size; i++) if (logits[i]! < least) logits[i] = -Infinity;
}
