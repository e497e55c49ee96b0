/**
 * How jobs are stopped from another thread while kernels run. A pass serves many jobs, so what is shared is a table of
 * them: the caller marks its job there, and stops the pass only when nobody, or nearly nobody, needs the rest of it.
 *
 *   words[0]  pass to stop: what kernels poll (non-zero = give up)
 *   words[1]  pass that runs, 0 = none
 *   words[2]  cancels announced: their messages are on the way
 *   words[3]  1 = everything ends
 *   words[4]  jobs of the pass
 *   words[5]  when it began, ms modulo 2^31
 *   then per job: id, what its rows cost (ms), id again once it is cancelled
 *
 * Flags name a pass and marks name a job, so that one that arrives late hits nobody else: whoever finds a stale flag
 * clears it and repeats the pass.
 */
import { HundredweightError } from "../errors.js";

const stopAt = 0;
const passAt = 1;
const announcedAt = 2;
const closingAt = 3;
const countAt = 4;
const beganAt = 5;
const tableAt = 6;
const entryWords = 3;

/** Most sequences of an engine. */
export const mostSequences = 1024;

export const cancelWords = tableAt + entryWords * mostSequences;

export function makeCancelWords(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * cancelWords));
}

const now = (): number => Date.now() % 2 ** 31;

export function cancelled(): HundredweightError {
  return new HundredweightError("CANCELLED", "stopped by the caller");
}

/**
 * The caller's side: any thread. A message that cancels the job must follow. The pass goes on for the others unless
 * repeating it without the cancelled rows is sooner done: what these cost is more than what has been computed.
 */
export function requestStop(words: Int32Array, job: number): void {
  Atomics.add(words, announcedAt, 1);
  const pass = Atomics.load(words, passAt);
  if (pass === 0) return;
  let live = false;
  let cancelledMs = 0;
  const count = Math.min(Atomics.load(words, countAt), mostSequences);
  let found = false;
  for (let i = 0; i < count; i++) {
    const at = tableAt + entryWords * i;
    const id = Atomics.load(words, at);
    if (id === job) {
      Atomics.store(words, at + 2, job);
      found = true;
    }
    if (Atomics.load(words, at + 2) === id) cancelledMs += Atomics.load(words, at + 1);
    else live = true;
  }
  const elapsedMs = now() - Atomics.load(words, beganAt);
  if (!found || (live && cancelledMs <= elapsedMs)) return;
  // The table was that of this pass only if it still runs.
  if (Atomics.load(words, passAt) === pass) Atomics.store(words, stopAt, pass);
}

/** The caller's side: ends whatever runs. */
export function requestClose(words: Int32Array): void {
  Atomics.store(words, closingAt, 1);
  const pass = Atomics.load(words, passAt);
  if (pass !== 0) Atomics.store(words, stopAt, pass);
}

export interface PassJob {
  readonly job: number;
  /** What the pass would save without its rows. */
  readonly costMs: number;
}

/** The engine's side. */
export class StopSignal {
  /** Given to `ops.setCancelFlag`. */
  readonly words: Int32Array;
  private pass = 0;
  private last = 0;
  private heardCancels = 0;

  constructor(words: Int32Array = makeCancelWords()) {
    this.words = words;
  }

  /** Makes these the jobs of the pass that begins. */
  begin(jobs: readonly PassJob[]): void {
    const { words } = this;
    for (const [i, { job, costMs }] of jobs.entries()) {
      const at = tableAt + entryWords * i;
      Atomics.store(words, at + 2, 0);
      Atomics.store(words, at, job);
      Atomics.store(words, at + 1, Math.min(2 ** 30, Math.round(costMs)));
    }
    Atomics.store(words, countAt, jobs.length);
    Atomics.store(words, beganAt, now());
    this.last = (this.last % (2 ** 31 - 1)) + 1;
    this.pass = this.last;
    Atomics.store(words, passAt, this.pass);
    this.clearStale();
  }

  end(): void {
    this.pass = 0;
    Atomics.store(this.words, passAt, 0);
    Atomics.store(this.words, stopAt, 0);
  }

  /** Stops the pass that runs, from its own thread. */
  stop(): void {
    if (this.pass !== 0) Atomics.store(this.words, stopAt, this.pass);
  }

  /** Whether the pass that runs is to stop. */
  get requested(): boolean {
    return this.closing || (this.pass !== 0 && Atomics.load(this.words, stopAt) === this.pass);
  }

  get closing(): boolean {
    return Atomics.load(this.words, closingAt) !== 0;
  }

  /** A cancel that was announced has arrived. */
  heard(): void {
    this.heardCancels++;
  }

  /** Whether cancels are on the way: a pass that began now would serve jobs nobody waits for. */
  get unheard(): boolean {
    return Atomics.load(this.words, announcedAt) !== this.heardCancels;
  }

  /** Those that were announced do not come. */
  giveUp(): void {
    this.heardCancels = Atomics.load(this.words, announcedAt);
  }

  clearStale(): void {
    const found = Atomics.load(this.words, stopAt);
    if (found !== 0 && found !== this.pass) Atomics.compareExchange(this.words, stopAt, found, 0);
  }
}
