/** An answer as the small model sees it: the decided tokens, and its own guesses behind them. */
import { type RowScans, topLogprobs } from "../sampling/logprobs.js";
import type { JobResult } from "./jobs.js";
import type { Task, Wanted } from "./task.js";

export class DraftTask implements Task {
  readonly tokens: Int32Array;
  known = 0;
  readonly promptTokens = 0;
  readonly mostPositions: number;
  readonly reusable = 0;
  readonly past = "gone";
  readonly answering = true;
  readonly result: JobResult | undefined = undefined;
  readonly certainty: number[] = [];
  /** The probability that all guesses are right. */
  all = 1;
  /** Tokens that a pass of the large model makes with them. */
  expected = 1;
  /** The decided tokens have been read, and the guesses are of what follows them. */
  current = false;
  /** Tokens that are decided; those behind are guesses. */
  private decided = 0;
  private readonly idOf: (id: number) => number;
  private readonly oddsOf: (certainty: number) => number;
  private readonly scans: RowScans;

  /**
   * @param idOf what stands for a token of the large model
   * @param oddsOf how often guesses of that probability are right
   */
  constructor(
    contextTokens: number,
    idOf: (id: number) => number,
    oddsOf: (certainty: number) => number,
    scans: RowScans,
  ) {
    this.oddsOf = oddsOf;
    this.scans = scans;
    this.tokens = new Int32Array(contextTokens);
    this.mostPositions = contextTokens;
    this.idOf = idOf;
  }

  get generated(): number {
    return this.guesses;
  }

  get guesses(): number {
    return this.certainty.length;
  }

  get guessed(): readonly number[] {
    return [...this.tokens.subarray(this.decided, this.decided + this.guesses)];
  }

  /** Takes over the decided tokens.  @returns how many at the beginning are as they were, but for the newest */
  follow(tokens: Int32Array, known: number): number {
    let same = 0;
    const most = Math.min(known - 1, this.known);
    while (same < most && this.tokens[same] === this.idOf(tokens[same]!)) same++;
    for (let at = same; at < known; at++) this.tokens[at] = this.idOf(tokens[at]!);
    this.known = known;
    this.decided = known;
    this.certainty.length = 0;
    this.all = 1;
    this.expected = 1;
    this.current = false;
    return same;
  }

  start(): void {}

  wanted(position: number): Wanted {
    return position === this.known - 1 ? "logits" : "nothing";
  }

  /**
   * The likeliest token is the guess.
   * @throws MODEL_INVALID when a logit is not finite
   */
  take(_position: number, row: Float32Array): void {
    const { id, logprob } = topLogprobs(row, 0, 1, this.scans).top[0]!;
    this.current = true;
    if (this.known === this.tokens.length) return;
    this.tokens[this.known++] = id;
    const certainty = Math.exp(logprob);
    this.certainty.push(certainty);
    this.all *= this.oddsOf(certainty);
    this.expected += this.all;
  }

  passed(): void {}
}
