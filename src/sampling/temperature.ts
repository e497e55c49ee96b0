import type { Candidates } from "./candidates.js";

/** Divides the logits; 0 or less keeps the best candidate alone (greedy). */
export function temperature(candidates: Candidates, value: number): void {
  if (value > 0) {
    const { logits, size } = candidates;
    // From the best down, so that a tiny temperature gives -Infinity and not Infinity - Infinity.
    const best = logits[candidates.best()]!;
    for (let i = 0; i < size; i++) logits[i] = (logits[i]! - best) / value;
    return;
  }
  candidates.swap(0, candidates.best());
  candidates.size = 1;
  candidates.sorted = true;
}
