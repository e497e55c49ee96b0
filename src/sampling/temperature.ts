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

export interface DynamicTemperature {
  readonly temperature: number;
  /** The temperature lies up to this far above or below. */
  readonly range: number;
  readonly exponent: number;
}

/**
 * A temperature by how undecided the candidates are: entropy over its greatest possible value, to the power `exponent`,
 * runs from the low end of the range to the high one.
 * @source llama.cpp, `temp-ext`
 */
export function dynamicTemperature(candidates: Candidates, settings: DynamicTemperature): void {
  if (settings.range <= 0) {
    temperature(candidates, settings.temperature);
    return;
  }
  const { size } = candidates;
  if (size <= 1) return;
  const least = Math.max(0, settings.temperature - settings.range);
  const most = settings.temperature + settings.range;
  const ratio = entropy(candidates) / Math.log(size);
  // A negative exponent on no entropy at all is infinite: the high end.
  temperature(candidates, Math.min(most, least + (most - least) * ratio ** settings.exponent));
}

/** Entropy of the candidates' distribution, in nats. */
function entropy(candidates: Candidates): number {
  const sum = candidates.softmax();
  const { weights, size } = candidates;
  let total = 0;
  for (let i = 0; i < size; i++) {
    const p = weights[i]! / sum;
    if (p > 0) total -= p * Math.log(p);
  }
  return Math.max(0, total);
}
