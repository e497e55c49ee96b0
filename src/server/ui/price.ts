/** Tells how long reading takes, from what passes cost. Pure: the page uses it. */
import type { PassCosts } from "./wire.js";

/**
 * Seconds to read so many tokens of a prompt, in passes of a chunk each. A pass takes what one of a single row takes
 * (every weight is read once, however few rows there are), or the time of its rows where those need longer.
 */
export function readSeconds({ chunkRows, oneRowSeconds, rowSeconds }: PassCosts, tokens: number): number {
  const pass = (rows: number) => (rows === 0 ? 0 : Math.max(oneRowSeconds, rows * rowSeconds));
  const whole = Math.floor(tokens / chunkRows);
  return whole * pass(chunkRows) + pass(tokens - whole * chunkRows);
}
