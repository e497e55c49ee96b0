/** Chooses the rows of the next pass: answers in the making first, then as many prompt rows as those can bear. */
import type { StateCache } from "../state/cache.js";
import { chooseDrafts, type DraftLimits } from "./drafts/choose.js";
import { Pass } from "./pass.js";
import type { Running } from "./running.js";
import { mostAnswerRows, type RowKind } from "./task.js";

export interface RowLimits extends Pick<DraftLimits, "passMs"> {
  /** Passes so far. */
  readonly pass: number;
  readonly mostRows: number;
  /** Rows of prompts beside answers in the making. */
  readonly promptRows: number;
}

/** Counts in `entries` who was served and who was overtaken.  @returns undefined when there is nothing to do */
export function chooseRows(entries: readonly Running[], cache: StateCache, limits: RowLimits): Pass | undefined {
  const pass = new Pass();
  const left = (entry: Running): number => entry.task.known - cache.length(entry.sequence);
  const place = (entry: Running, kind: RowKind, rows: number, drafts = 0): void => {
    const { task, sequence } = entry;
    entry.servedIn = limits.pass;
    const from = cache.length(sequence);
    const marks = entry.checkpoints.filter((position) => position > from && position <= from + rows);
    pass.add({ task, sequence, from, rows: rows + drafts, kind, drafts, marks });
  };
  const kind = (entry: Running): RowKind => kindOfNext(entry, left(entry));
  // In a pass too small for all, those that have waited longest.
  const answers = entries.filter((e) => kind(e) === "answer").sort((a, b) => a.servedIn - b.servedIn);
  const served = answers.slice(0, limits.mostRows);
  const prompts = entries.filter((e) => left(e) > 0 && kind(e) === "prompt");
  const drafts = chooseDrafts(served.map(oddsOf), {
    most: limits.mostRows - served.length,
    // Beside rows of a prompt one more costs arithmetic, and always does.
    passMs: prompts.length > 0 ? () => undefined : limits.passMs,
  });
  for (const [i, entry] of served.entries()) place(entry, "answer", 1, drafts[i]!);
  const decoding = pass.rows;
  // The shortest first, but whoever waits gets nearer to the front with every row of another.
  prompts.sort((a, b) => left(a) - a.overtaken - (left(b) - b.overtaken));
  const most = Math.min(limits.mostRows, pass.rows + (answers.length > 0 ? limits.promptRows : limits.mostRows));
  for (const entry of prompts) {
    const rows = Math.min(left(entry), most - pass.rows);
    // What has to be whole waits for a pass with room for all of it; one begins with whoever waited longest.
    if (rows > 0 && !(entry.task.whole && rows < left(entry))) place(entry, "prompt", rows);
  }
  for (const entry of prompts) entry.overtaken += pass.rows - decoding;
  return pass.rows === 0 ? undefined : pass;
}

/** An answer that was sent back is read again in bulk, like a prompt, up to its newest token. */
function kindOfNext({ task }: Running, left: number): RowKind {
  return task.answering && left === 1 ? "answer" : "prompt";
}

/** The odds of its drafts, as many as a pass may have of them. */
function oddsOf({ task }: Running): readonly number[] {
  const drafts = Math.min(task.drafts ?? 0, mostAnswerRows - 1, task.mostPositions - task.known);
  return task.odds?.slice(0, drafts) ?? new Array<number>(drafts).fill(1);
}
