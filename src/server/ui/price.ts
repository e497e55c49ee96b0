/** Tells how long reading and answering take, from what passes cost. Pure: the page uses it. */
import { computeSeconds, tokenComputeSeconds } from "../../weights/prompt-seconds.js";
import type { PassCosts } from "./wire.js";

/** Rows from which a pass is one of many: experts differ from row to row, so it reads nearly all of them. */
const manyRows = 16;

/**
 * Seconds to read so many tokens of a prompt behind `from` others, in passes of a chunk each. A pass takes what its
 * rows compute and what those see, or the time of reading its weights where that takes longer.
 */
export function readSeconds(costs: PassCosts, tokens: number, from = 0): number {
  const { chunkRows, compute, passSeconds, firstPassSeconds = passSeconds } = costs;
  let seconds = 0;
  for (let read = 0; read < tokens; read += chunkRows) {
    const rows = Math.min(chunkRows, tokens - read);
    const many = read === 0 ? firstPassSeconds : passSeconds;
    const least = Math.max(tokenSeconds(costs, from + read), rows < manyRows ? 0 : many);
    seconds += Math.max(least, computeSeconds(compute, rows, from + read));
  }
  return seconds;
}

/** Seconds that a token of an answer takes, with so many positions before it. */
export function tokenSeconds({ token, leastTokenSeconds, tokenWaitSeconds }: PassCosts, position: number): number {
  return Math.max(leastTokenSeconds, tokenComputeSeconds(token, position)) + tokenWaitSeconds;
}
