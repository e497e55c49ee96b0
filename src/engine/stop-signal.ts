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

/** Which of the words is which; `entries`: where the jobs begin, `entryWords` each. */
export const cancelTable = {
  stop: 0,
  pass: 1,
  announced: 2,
  closing: 3,
  count: 4,
  began: 5,
  entries: 6,
  entryWords: 3,
} as const;

/** Sequences an engine has at most: the table has an entry for each. */
export const mostSequences = 1024;

const cancelWords = cancelTable.entries + cancelTable.entryWords * mostSequences;

export function makeCancelWords(): Int32Array {
  return new Int32Array(new SharedArrayBuffer(4 * cancelWords));
}

/** Milliseconds modulo 2^31, on a clock that threads and processes share. */
export const clockMs = (): number => Date.now() % 2 ** 31;

export function cancelled(): HundredweightError {
  return new HundredweightError("CANCELLED", "stopped by the caller");
}

export interface PassJob {
  readonly job: number;
  /** Milliseconds the pass would save without its rows. */
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
      const at = cancelTable.entries + cancelTable.entryWords * i;
      Atomics.store(words, at + 2, 0);
      Atomics.store(words, at, job);
      Atomics.store(words, at + 1, Math.min(2 ** 30, Math.round(costMs)));
    }
    Atomics.store(words, cancelTable.count, jobs.length);
    Atomics.store(words, cancelTable.began, clockMs());
    this.last = (this.last % (2 ** 31 - 1)) + 1;
    this.pass = this.last;
    Atomics.store(words, cancelTable.pass, this.pass);
    this.clearStale();
  }

  end(): void {
    this.pass = 0;
    Atomics.store(this.words, cancelTable.pass, 0);
    Atomics.store(this.words, cancelTable.stop, 0);
  }

  /** Stops the pass that runs, from its own thread. */
  stop(): void {
    if (this.pass !== 0) Atomics.store(this.words, cancelTable.stop, this.pass);
  }

  /** Whether the pass that runs is to stop. */
  get requested(): boolean {
    return this.closing || (this.pass !== 0 && Atomics.load(this.words, cancelTable.stop) === this.pass);
  }

  get closing(): boolean {
    return Atomics.load(this.words, cancelTable.closing) !== 0;
  }

  /** A cancel that was announced has arrived. */
  heard(): void {
    this.heardCancels++;
  }

  /** Whether cancels are on the way: a pass that began now would serve jobs nobody waits for. */
  get unheard(): boolean {
    return Atomics.load(this.words, cancelTable.announced) !== this.heardCancels;
  }

  /** Those that were announced do not come. */
  giveUp(): void {
    this.heardCancels = Atomics.load(this.words, cancelTable.announced);
  }

  clearStale(): void {
    const found = Atomics.load(this.words, cancelTable.stop);
    if (found !== 0 && found !== this.pass) Atomics.compareExchange(this.words, cancelTable.stop, found, 0);
  }
}
