/**
 * One timeline of tokens and the state that belongs to it. `sync(allTokens)` is the main verb: it keeps the longest
 * common prefix, goes back as far as the state allows and evaluates the rest in chunks. Whatever fails or is cancelled
 * in between, the timeline says exactly what was evaluated, so a later sync is right.
 */
import { setImmediate as yieldToEvents } from "node:timers/promises";
import { HundredweightError } from "../errors.js";
import type { KvCache } from "../kv/cache.js";
import type { BoundModel } from "../models/index.js";
import type { RowTable } from "../ops/ops.js";
import { cancelled, type StopSignal } from "./cancel.js";

/** What a session needs of a bound model: one pass over a table of rows. */
export type ForwardModel = Pick<BoundModel, "forward">;

export interface PassRecord {
  /** Position of the first row. */
  readonly position: number;
  readonly rows: number;
  /** Waiting for weights included. */
  readonly elapsedMs: number;
}

export interface SessionOptions {
  readonly model: ForwardModel;
  readonly cache: KvCache;
  readonly vocab: number;
  /** Most rows of a pass. */
  readonly chunkRows: number;
  readonly stop: StopSignal;
}

/** Logits of the rows at positions from `position` on, [rows * vocab]; valid during the call. */
export type OnRows = (position: number, logits: Float32Array) => void;

export interface EvaluateHooks {
  readonly onRows?: OnRows;
  readonly onPass?: (pass: PassRecord) => void;
}

export class Session {
  private readonly options: SessionOptions;
  /** Its slot in the KV cache. */
  readonly sequence: number;
  private readonly timeline: Int32Array;
  private readonly positions: Int32Array;
  private readonly sequences: Int32Array;
  private readonly lastLogits: Float32Array;
  /** The position whose next-token logits `lastLogits` holds, -1 = none. */
  private logitsAt = -1;
  /** Rows of the largest pass. */
  mostRows = 0;

  constructor(options: SessionOptions, sequence: number = options.cache.openSequence()) {
    this.options = options;
    this.sequence = sequence;
    this.timeline = new Int32Array(options.cache.contextTokens);
    this.positions = new Int32Array(options.chunkRows);
    this.sequences = new Int32Array(options.chunkRows).fill(sequence);
    this.lastLogits = new Float32Array(options.vocab);
  }

  get length(): number {
    return this.options.cache.length(this.sequence);
  }

  /** What has been evaluated; a view that the next call changes. */
  get tokens(): Int32Array {
    return this.timeline.subarray(0, this.length);
  }

  /** Next-token logits after the last token [vocab]; a view that the next call changes. */
  get logits(): Float32Array {
    if (this.logitsAt !== this.length - 1 || this.length === 0) {
      throw new HundredweightError("INTERNAL", "no logits: nothing was evaluated since the last rewind");
    }
    return this.lastLogits;
  }

  /** How many leading tokens a sync to `tokens` would keep. */
  commonPrefix(tokens: Int32Array): number {
    const end = Math.min(tokens.length, this.length);
    let common = 0;
    while (common < end && tokens[common] === this.timeline[common]) common++;
    return common;
  }

  /**
   * Makes `tokens` the timeline, with the logits after the last one.
   * @returns how many tokens were reused
   * @throws CONTEXT_EXCEEDED, CANCELLED, OPTION_INVALID for an empty list
   */
  async sync(tokens: Int32Array, hooks: EvaluateHooks = {}): Promise<number> {
    return this.evaluate(tokens, tokens.length - 1, hooks);
  }

  /** Appends tokens to the timeline. */
  async eval(tokens: Int32Array, hooks: EvaluateHooks = {}): Promise<void> {
    checkLength(this.length + tokens.length, this.timeline.length);
    await this.run(tokens, 0, this.length + tokens.length - 1, hooks);
  }

  /**
   * Makes `tokens` the timeline and reports the logits of every position from `from` on.
   * @returns how many tokens were reused
   */
  async evaluate(tokens: Int32Array, from: number, hooks: EvaluateHooks = {}): Promise<number> {
    if (tokens.length === 0) throw new HundredweightError("OPTION_INVALID", "the prompt has no tokens");
    checkLength(tokens.length, this.timeline.length);
    checkIds(tokens, this.options.vocab);
    const common = this.commonPrefix(tokens);
    // Nothing to do when the state is already there and nobody asks for earlier rows.
    if (common === tokens.length && common === this.length && from === common - 1 && this.logitsAt === from) {
      hooks.onRows?.(from, this.lastLogits);
      return common;
    }
    const kept = this.rewind(Math.min(common, from));
    await this.run(tokens, kept, from, hooks);
    return kept;
  }

  /**
   * Forgets the tokens from `position` on.
   * @returns the length reached: less than asked for when a window has forgotten what is needed (then 0)
   */
  rewind(position: number): number {
    if (position >= this.length) return this.length;
    this.logitsAt = -1;
    return this.options.cache.rewind(this.sequence, position);
  }

  /** A second timeline with the same past, sharing its pages. */
  fork(): Session {
    const copy = new Session(this.options, this.options.cache.fork(this.sequence));
    copy.timeline.set(this.tokens);
    copy.lastLogits.set(this.lastLogits);
    copy.logitsAt = this.logitsAt;
    return copy;
  }

  close(): void {
    this.options.cache.release(this.sequence);
  }

  /** Evaluates tokens[at..] chunk by chunk; logits are wanted from position `from` on. */
  private async run(tokens: Int32Array, at: number, from: number, hooks: EvaluateHooks): Promise<void> {
    for (let next = at; next < tokens.length; ) {
      const count = Math.min(this.options.chunkRows, tokens.length - next);
      await this.pass(tokens.subarray(next, next + count), from, hooks);
      next += count;
    }
  }

  private async pass(ids: Int32Array, from: number, hooks: EvaluateHooks): Promise<void> {
    const { model, cache, vocab, stop } = this.options;
    const start = this.length;
    const count = ids.length;
    if (stop.requested) throw cancelled();
    this.mostRows = Math.max(this.mostRows, count);
    for (let i = 0; i < count; i++) this.positions[i] = start + i;
    const firstWanted = Math.max(0, from - start);
    const wanted = Int32Array.from({ length: Math.max(0, count - firstWanted) }, (_, i) => firstWanted + i);
    const began = performance.now();
    for (;;) {
      this.logitsAt = -1;
      cache.append(this.sequence, count);
      try {
        const rows: RowTable = {
          count,
          ids,
          positions: this.positions.subarray(0, count),
          sequences: this.sequences.subarray(0, count),
          blockTables: cache.blockTables,
        };
        await model.forward(rows, wanted, (logits, first) => {
          const position = start + wanted[first]!;
          const last = position + logits.length / vocab - 1;
          if (last === start + count - 1) this.lastLogits.set(logits.subarray(logits.length - vocab));
          hooks.onRows?.(position, logits);
        });
        break;
      } catch (error) {
        cache.rewind(this.sequence, start);
        const stale = error instanceof HundredweightError && error.code === "CANCELLED" && !stop.requested;
        if (!stale) throw error;
        stop.clearStale();
      }
    }
    this.timeline.set(ids, start);
    if (wanted.length > 0) this.logitsAt = start + count - 1;
    hooks.onPass?.({ position: start, rows: count, elapsedMs: performance.now() - began });
    // Messages (a new job, a stop in the same thread) get their turn between passes.
    await yieldToEvents();
  }
}

/** @throws OPTION_INVALID */
export function checkIds(tokens: Int32Array, vocab: number): void {
  for (const id of tokens) {
    if (id < 0 || id >= vocab) {
      throw new HundredweightError("OPTION_INVALID", `token ${id} is not in the vocabulary of ${vocab}`, { id, vocab });
    }
  }
}

/** @throws CONTEXT_EXCEEDED */
export function checkLength(tokens: number, contextTokens: number): void {
  if (tokens <= contextTokens) return;
  throw new HundredweightError(
    "CONTEXT_EXCEEDED",
    `${tokens} tokens do not fit the context of ${contextTokens}; shorten the prompt or raise --ctx`,
    { tokens, contextTokens },
  );
}
