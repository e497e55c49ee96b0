/** Moments of a start, for `bench/first-byte.ts`: every process and thread adds its own to one file. */
import { appendFileSync } from "node:fs";

const path = process.env.HUNDREDWEIGHT_MARKS;

/** Notes that this moment was passed, where somebody wants to know. */
export function mark(name: string): void {
  if (path !== undefined) appendFileSync(path, `${performance.timeOrigin + performance.now()}\t${name}\n`);
}
