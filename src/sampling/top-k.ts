import type { Candidates } from "./candidates.js";

/** Keeps the `k` best candidates; 0 or less keeps all. */
export function topK(candidates: Candidates, k: number): void {
  if (k > 0) candidates.keepBest(k);
}
