/**
 * Promises jobs their part of the KV cache, and says which one goes when that was too much. A job begins when it and
 * those that run can each grow a little; longer answers take page by page what is there, and when nothing is left the
 * youngest goes back to the queue. What it had is evaluated again later, in few passes and with the same bits; its
 * sampler keeps its state.
 */
import { pagePositions } from "../ops/ops.js";
import type { Begun } from "./running.js";
import type { Task } from "./task.js";

/** Positions each may grow before pages can run out: a page, so that nobody begins only to be sent back. */
const headroom = pagePositions;

/** Positions that are to be there for a task that begins or runs. */
export function promised({ known, mostPositions }: Task): number {
  return Math.min(mostPositions, known + headroom);
}

/**
 * Chooses the job that goes back to the queue: of those that `rest` (their clients read too slowly) the youngest, else
 * the youngest of all. The oldest that does not rest is never chosen as long as there is another, so it ends, and then
 * the next one is the oldest.
 */
export function youngest<T extends { readonly begun: Begun }>(
  growers: Iterable<T>,
  rests: (grower: T) => boolean,
): T | undefined {
  let found: T | undefined;
  for (const grower of growers) {
    if (found === undefined || later(grower, found, rests)) found = grower;
  }
  return found;
}

function later<T extends { readonly begun: Begun }>(a: T, b: T, rests: (grower: T) => boolean): boolean {
  return rests(a) === rests(b) ? a.begun.seniority > b.begun.seniority : rests(a);
}
