import type { Candidates } from "./candidates.js";
import type { Rng } from "./rng.js";

export interface XtcSettings {
  /** How often it acts; 0 = never. */
  readonly probability: number;
  /** Above 0.5 = never: no two tokens can reach it. */
  readonly threshold: number;
  readonly minKeep: number;
}

/**
 * Leaves out the likeliest candidates, all but the last one that is at least as likely as the threshold: what remains
 * is still sensible, and no longer the obvious. Takes a random number whenever it might act.
 * @source pull request 6335 of text-generation-webui (exclude top choices); llama.cpp, `xtc`
 */
export function xtc(candidates: Candidates, settings: XtcSettings, rng: Rng): void {
  const { probability, threshold, minKeep } = settings;
  if (probability <= 0 || threshold > 0.5 || candidates.size < 2) return;
  if (rng.uniform() > probability) return;
  const sum = candidates.softmax();
  const { ids, logits, weights, size } = candidates;
  let last = -1;
  let reached = 0;
  for (let i = 0; i < size; i++) {
    if (weights[i]! / sum < threshold) continue;
    reached++;
    if (last < 0 || candidates.before(last, i)) last = i;
  }
  if (reached < 2 || size - (reached - 1) < minKeep) return;
  let kept = 0;
  for (let i = 0; i < size; i++) {
    if (i !== last && weights[i]! / sum >= threshold) continue;
    ids[kept] = ids[i]!;
    logits[kept++] = logits[i]!;
  }
  candidates.size = kept;
}
