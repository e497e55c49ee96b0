/** Tells how long reading takes, from what passes cost. Pure: the page uses it. */
import type { PassCosts } from "./wire.js";

/** Rows from which a pass is one of many: experts differ from row to row, so it reads nearly all of them. */
const manyRows = 16;

/**
 * Seconds to read so many tokens of a prompt, in passes of a chunk each. A pass takes what reading its weights takes,
 * or the time of its rows where those need longer.
 */
export function readSeconds(costs: PassCosts, tokens: number): number {
  const { chunkRows, oneRowSeconds, rowSeconds, passSeconds, firstPassSeconds = passSeconds } = costs;
  let seconds = 0;
  for (let read = 0; read < tokens; read += chunkRows) {
    const rows = Math.min(chunkRows, tokens - read);
    const many = read === 0 ? firstPassSeconds : passSeconds;
    seconds += Math.max(oneRowSeconds, rows < manyRows ? 0 : many, rows * rowSeconds);
  }
  return seconds;
}
