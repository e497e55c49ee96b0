/** Whose rows are in the next pass: answers in the making first, then prompts, as many as those can bear. */
import type { KvCache } from "../kv/cache.js";
import { Pass } from "./pass.js";
import type { Running } from "./running.js";

export interface RowLimits {
  /** Passes so far. */
  readonly pass: number;
  readonly mostRows: number;
  /** Rows of prompts beside answers in the making. */
  readonly promptRows: number;
}

/** Counts in `entries` who was served and who was overtaken.  @returns undefined when there is nothing to do */
export function chooseRows(entries: readonly Running[], cache: KvCache, limits: RowLimits): Pass | undefined {
  const pass = new Pass();
  const left = (entry: Running): number => entry.task.known - cache.length(entry.sequence);
  const place = (entry: Running, rows: number): void => {
    entry.servedIn = limits.pass;
    pass.add(entry.task, entry.sequence, cache.length(entry.sequence), rows);
  };
  // In a pass too small for all, those that have waited longest.
  const answers = entries.filter((e) => left(e) === 1).sort((a, b) => a.servedIn - b.servedIn);
  for (const entry of answers.slice(0, limits.mostRows)) place(entry, 1);
  const prompts = entries.filter((e) => left(e) > 1);
  // The shortest first, but whoever waits gets nearer to the front with every row of another.
  prompts.sort((a, b) => left(a) - a.overtaken - (left(b) - b.overtaken));
  const most = Math.min(limits.mostRows, pass.rows + (answers.length > 0 ? limits.promptRows : limits.mostRows));
  for (const entry of prompts) {
    const rows = Math.min(left(entry), most - pass.rows);
    if (rows > 0) place(entry, rows);
  }
  for (const entry of prompts) entry.overtaken += pass.rows - answers.length;
  return pass.rows === 0 ? undefined : pass;
}
