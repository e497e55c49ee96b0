/** Keeps the engine's counters, and tells each job about the passes it was part of. */
import type { PassTraffic } from "../weights/ledger.js";
import type { DecodeSums, EngineStatus, LedgerEntry } from "./jobs.js";
import { type Pass, type PassPart, reached as reachedBy } from "./pass.js";
import type { Running } from "./running.js";

/** From the end of a pass to the end of the next one, in times of that: what is longer is no work of an answer. */
const longestGap = 2;

export class Accounts {
  readonly counts = {
    passes: 0,
    promptTokens: 0,
    cachedTokens: 0,
    generatedTokens: 0,
    preemptions: 0,
    recomputedTokens: 0,
  };
  /** Rows of the largest pass. */
  mostRows = 0;
  /** Passes that one answer had to itself: what a token costs, whatever part of it was guessed. */
  answering: DecodeSums = { passes: 0, tokens: 0, positions: 0, ms: 0, stallMs: 0 };
  private readonly passWeightBytes: number;
  private traffic: PassTraffic | undefined;
  private last: PassShape | undefined;
  private lastEnded = Number.NEGATIVE_INFINITY;

  constructor(passWeightBytes: number) {
    this.passWeightBytes = passWeightBytes;
  }

  /** Tokens of a prompt that need not be evaluated; the others count when they have been. */
  reused(tokens: number): void {
    this.counts.promptTokens += tokens;
    this.counts.cachedTokens += tokens;
  }

  passed(pass: Pass, traffic: PassTraffic | undefined, elapsedMs: number): void {
    this.counts.passes++;
    this.mostRows = Math.max(this.mostRows, pass.rows);
    this.traffic = traffic;
    const accepted = pass.parts.reduce((sum, part) => sum + part.accepted, 0);
    const drafts = pass.parts.reduce((sum, part) => sum + part.drafts, 0);
    this.last = { position: pass.parts[0]!.from, rows: pass.rows, elapsedMs, drafts, acceptedDrafts: accepted };
    const ended = performance.now();
    if (pass.parts.length === 1 && pass.decoding === pass.rows) {
      // An answer that was paused did not work meanwhile.
      const ms = Math.min(ended - this.lastEnded, longestGap * elapsedMs);
      this.answered(1 + accepted, pass.parts[0]!.from, ms, traffic?.stallMs ?? 0);
    }
    this.lastEnded = ended;
  }

  private answered(tokens: number, position: number, ms: number, stallMs: number): void {
    const before = this.answering;
    this.answering = {
      passes: before.passes + 1,
      tokens: before.tokens + tokens,
      positions: before.positions + tokens * position,
      ms: before.ms + ms,
      stallMs: before.stallMs + stallMs,
    };
  }

  /** Made when somebody asks. */
  get lastPass(): EngineStatus["lastPass"] {
    const { last } = this;
    return last && { ...ledgerEntry(last, this.traffic, this.passWeightBytes), elapsedMs: last.elapsedMs };
  }

  /** One job's part of the pass that is over. */
  served(part: PassPart, { job, begun }: Running): void {
    const { from, rows, task } = part;
    const total = from < task.promptTokens && begun.counted === 0 ? task.promptTokens : 0;
    const { reached } = begun;
    const done = reachedBy(part);
    begun.reached = Math.max(reached, done);
    this.counts.recomputedTokens += Math.max(0, Math.min(reached, done) - from);
    const ofPrompt = (position: number): number => Math.min(position, task.promptTokens);
    this.counts.promptTokens += Math.max(0, ofPrompt(begun.reached) - ofPrompt(reached));
    this.counts.generatedTokens += task.generated - begun.counted;
    begun.counted = task.generated;
    const shape = {
      position: from,
      rows,
      elapsedMs: this.last?.elapsedMs ?? 0,
      drafts: part.drafts,
      acceptedDrafts: part.accepted,
    };
    job.emit({ kind: "pass", entry: ledgerEntry(shape, this.traffic, this.passWeightBytes), done, total });
  }
}

type PassShape = Pick<LedgerEntry, "position" | "rows" | "drafts" | "acceptedDrafts"> & { readonly elapsedMs: number };

function ledgerEntry(pass: PassShape, traffic: PassTraffic | undefined, weightBytes: number): LedgerEntry {
  const stallMs = traffic?.stallMs ?? 0;
  return {
    position: pass.position,
    rows: pass.rows,
    diskBytes: traffic?.diskBytes ?? 0,
    pinnedBytes: traffic?.pinnedBytes ?? weightBytes,
    stallMs,
    computeMs: Math.max(0, pass.elapsedMs - stallMs),
    expertHits: traffic?.expertHits ?? 0,
    expertMisses: traffic?.expertMisses ?? 0,
    drafts: pass.drafts,
    acceptedDrafts: pass.acceptedDrafts,
  };
}
