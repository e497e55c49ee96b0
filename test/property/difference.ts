/** Compares logits by their bits. */
import type { Logits } from "./evaluate-way.js";

/** Where two ways differ first, if anywhere; every row `found` has is compared. */
export function firstDifference(expected: Logits, found: Logits): string | undefined {
  for (const [s, rows] of found.entries())
    for (const [position, row] of rows.entries()) {
      const want = expected[s]![position]!;
      const at = row?.findIndex((bits, i) => bits !== want[i]) ?? -1;
      if (at >= 0) {
        const [a, b] = [want, row!].map((bits) => new Float32Array(bits.buffer)[at]);
        return `sequence ${s}, position ${position}, logit ${at}: ${a} alone, ${b} this way`;
      }
    }
  return undefined;
}
