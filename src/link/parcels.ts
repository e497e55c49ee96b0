/**
 * Events of many jobs as one message, in their order. A pass makes a token and a ledger line for each of its jobs; told
 * one by one they are mostly names of fields, so neighbours of a kind lie in columns.
 */
import type { JobEvent, LedgerEntry } from "../engine/jobs.js";

export interface Addressed {
  readonly job: number;
  readonly event: JobEvent;
}

export type Parcel =
  | Addressed
  /** Tokens of which nothing but id and text is told, one after the other. */
  | { readonly tokens: readonly number[]; readonly ids: readonly number[]; readonly texts: readonly string[] }
  /** Lines of one pass: `entry` with [job, position, rows, done, total] of each. */
  | { readonly entry: LedgerEntry; readonly lines: readonly number[] };

const lineLength = 5;

export function pack(events: readonly Addressed[]): Parcel[] {
  const parcels: Parcel[] = [];
  for (let i = 0; i < events.length; ) {
    const first = events[i]!;
    const { kind } = first.event;
    let end = i + 1;
    while (end < events.length && follows(first.event, events[end]!.event)) end++;
    const run = events.slice(i, end);
    if (run.length === 1) parcels.push(first);
    else if (kind === "token") parcels.push(tokensOf(run));
    else parcels.push(linesOf(run));
    i = end;
  }
  return parcels;
}

export function unpack(parcels: readonly Parcel[], deliver: (job: number, event: JobEvent) => void): void {
  for (const parcel of parcels) {
    if ("event" in parcel) deliver(parcel.job, parcel.event);
    else if ("tokens" in parcel) {
      for (const [i, job] of parcel.tokens.entries())
        deliver(job, { kind: "token", id: parcel.ids[i]!, text: parcel.texts[i]! });
    } else {
      const { entry, lines } = parcel;
      for (let i = 0; i < lines.length; i += lineLength) {
        const [job, position, rows, done, total] = lines.slice(i, i + lineLength) as [
          number,
          number,
          number,
          number,
          number,
        ];
        deliver(job, { kind: "pass", entry: { ...entry, position, rows }, done, total });
      }
    }
  }
}

/** Whether one may lie in the columns that another began. */
function follows(first: JobEvent, next: JobEvent): boolean {
  if (first.kind === "token") return next.kind === "token" && isPlain(first) && isPlain(next);
  if (first.kind !== "pass" || next.kind !== "pass") return false;
  const [a, b] = [first.entry, next.entry];
  return (Object.keys(a) as (keyof LedgerEntry)[]).every(
    (key) => key === "position" || key === "rows" || a[key] === b[key],
  );
}

const isPlain = ({ logprobs, sampler }: Extract<JobEvent, { kind: "token" }>): boolean => !logprobs && !sampler;

function tokensOf(run: readonly Addressed[]): Parcel {
  const tokens = run.map(({ event }) => event as Extract<JobEvent, { kind: "token" }>);
  return { tokens: run.map(({ job }) => job), ids: tokens.map(({ id }) => id), texts: tokens.map(({ text }) => text) };
}

function linesOf(run: readonly Addressed[]): Parcel {
  const passes = run.map(({ event }) => event as Extract<JobEvent, { kind: "pass" }>);
  const lines = passes.flatMap(({ entry, done, total }, i) => [run[i]!.job, entry.position, entry.rows, done, total]);
  return { entry: passes[0]!.entry, lines };
}
