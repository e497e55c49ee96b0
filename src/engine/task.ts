/** A job as the scheduler sees it: tokens to be evaluated in order, and what becomes of the rows. */
import type { JobResult } from "./protocol.js";

/** What a task wants of a row: its logits [vocab], its final hidden state [dim], or that it be evaluated. */
export type Wanted = "logits" | "hidden" | "nothing";

export interface Task {
  /** Tokens of the timeline; the first `known` of them are decided. */
  readonly tokens: Int32Array;
  readonly known: number;
  readonly promptTokens: number;
  /** Positions the timeline may reach. */
  readonly mostPositions: number;
  /** Leading tokens whose rows may be taken from earlier jobs: those before the next one that is wanted. */
  readonly reusable: number;
  /** Tokens made so far. */
  readonly generated: number;
  /** Set once the task needs no more rows. */
  readonly result: JobResult | undefined;
  /** Evaluation starts behind `reused` tokens. Not called again when the task was sent back and goes on. */
  start(reused: number): void;
  wanted(position: number): Wanted;
  /**
   * A row that was wanted; valid during the call. A pass may be repeated: rows that were given before must change nothing.
   * @throws what ends the task
   */
  take(position: number, row: Float32Array): void;
  /** A pass with rows of the task is over. */
  passed(): void;
}
