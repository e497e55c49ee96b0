/** A job as the scheduler sees it: tokens to be evaluated in order, and what becomes of the rows. */
import { keptRows } from "../ops/ops.js";
import type { AdapterScales, JobResult } from "./jobs.js";
import type { Roll } from "./when-full.js";

/**
 * A row gives a task its logits [vocab], its final hidden state [dim], or nothing: it is only evaluated. The last row
 * of a text also gives what the model makes of all of it: its pooled row, or the scores of its classification head.
 */
export type Wanted = "logits" | "hidden" | "pooled" | "rank" | "nothing";

/**
 * The purpose of a row. `prompt`: tokens that are given, read in bulk. `answer`: the newest token of an answer in the
 * making, whose logits its next step waits for. `draft`: a guess behind that token, checked in the same pass.
 */
export type RowKind = "prompt" | "answer" | "draft";

/**
 * The fate of a sequence that is done. `kept` for what comes next, as a conversation; `spare`: kept as long as nobody
 * else needs its place; `gone`: what it holds is no past of its tokens.
 */
export type Past = "kept" | "spare" | "gone";

/** A timeline that outgrows its context: whoever runs it leaves tokens out when it is full. */
export interface Rolling {
  readonly roll: Roll;
  /** Every position is decided, and a token that has none. */
  readonly full: boolean;
  /** [keep, keep + discard) is no longer in `tokens`; `known` is less. */
  left(): void;
  /** Evaluation begins with the first token of all. @returns positions that came back */
  restart(): number;
}

export interface Task {
  /** Tokens of the timeline; the first `known` of them are decided. */
  readonly tokens: Int32Array;
  readonly known: number;
  /**
   * Guesses in tokens[known ...], evaluated with the newest known token; rows behind a wrong one are not given. Absent:
   * none.
   */
  readonly drafts?: number;
  /** The probability that each of the drafts is right where those before it are. Absent: they are certain. */
  readonly odds?: readonly number[] | undefined;
  readonly promptTokens: number;
  /** The adapters of its rows, told before it is submitted; absent: none. */
  adapters?: AdapterScales;
  /** The name of those whose past it becomes, told before it is submitted; absent: everybody's. */
  scope?: string;
  /** Positions the timeline may reach. */
  readonly mostPositions: number;
  /** Leading tokens whose rows may be taken from earlier jobs: those before the next one that is wanted. */
  readonly reusable: number;
  readonly past: Past;
  /** Absent: it ends with its context. */
  readonly rolling?: Rolling | undefined;
  /** All its rows have to be in one pass: they see each other. Default false. */
  readonly whole?: boolean;
  /** Whether an answer is in the making: the row of the newest token is not one of a prompt. */
  readonly answering: boolean;
  /** Tokens made so far. */
  readonly generated: number;
  /** Set once the task needs no more rows. */
  readonly result: JobResult | undefined;
  /**
   * Evaluation starts in `sequence`, behind `reused` tokens. Not called again when the task was sent back and goes on.
   */
  start(reused: number, sequence: number): void;
  wanted(position: number): Wanted;
  /**
   * A row that was wanted; valid during the call. A pass may be repeated: rows that were given before must change
   * nothing.
   * @throws what ends the task
   */
  take(position: number, row: Float32Array): void;
  /** A pass with rows of the task is over, `tried` drafts and `accepted` right ones among them. */
  passed(tried: number, accepted: number): void;
}

/**
 * Most rows of an answer in a pass: its newest token and drafts. States that cannot go back keep what so many rows fed
 * in.
 */
export const mostAnswerRows = keptRows;
