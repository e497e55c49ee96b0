/**
 * The ways of an answer that has filled its context (decision 0096). It ends there (`stop`), or tokens behind the
 * first `keep` are left out and it goes on: with what was evaluated, moved down (`shift`), or with what remains read
 * again (`reread`).
 */
import { HundredweightError } from "../errors.js";
import { pagePositions } from "../ops/ops.js";

export const fullWays = ["stop", "shift", "reread"] as const;
export type FullWay = (typeof fullWays)[number];

export interface WhenFull {
  readonly how: FullWay;
  /** Tokens at the beginning that stay; -1: the prompt. Default: the prompt, at most a quarter of the context. */
  readonly keep?: number;
  /** Tokens that are left out each time; default: half of those that are not kept. */
  readonly discard?: number;
}

/** How a timeline goes on: of a full context [keep, keep + discard) is left out. */
export interface Roll {
  readonly how: Exclude<FullWay, "stop">;
  readonly keep: number;
  readonly discard: number;
}

export interface RolledContext {
  readonly contextTokens: number;
  readonly promptTokens: number;
  /** Windows of the model's layers; 0: none. */
  readonly windows: readonly number[];
  /** Why keys cannot move; undefined: they can. */
  readonly fault: string | undefined;
}

/**
 * Settles what is kept and left out; a shift leaves out whole multiples of 256 tokens.
 * @throws OPTION_INVALID for a model whose keys cannot move, a context without room for what is kept
 */
export function rollOf(asked: WhenFull, context: RolledContext): Roll | undefined {
  const { how, keep, discard } = asked;
  if (!fullWays.includes(how)) throw invalid(`'${how}' is none of ${fullWays.join(", ")}`);
  for (const [name, value, least] of [["keep", keep, -1] as const, ["discard", discard, 0] as const])
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= least))
      throw invalid(`${name} is ${value}, expected a whole number from ${least} on`);
  if (how === "stop") return undefined;
  return how === "shift" ? shiftOf(asked, context) : rereadOf(asked, context);
}

/** The newest tokens, of which an answer that goes on has to know. */
const leastLeft = 64;

/** @throws OPTION_INVALID */
export function checkShift({ fault }: Pick<RolledContext, "fault">): void {
  if (fault !== undefined)
    throw invalid(`this model cannot shift its context: ${fault}; 'reread' works for all models`);
}

function shiftOf(asked: WhenFull, context: RolledContext): Roll {
  checkShift(context);
  const { contextTokens, windows } = context;
  const keep = keepOf(asked, context);
  const rest = contextTokens - keep;
  const most = Math.floor((rest - leastLeft) / pagePositions);
  if (most < 1)
    throw invalid(
      `a shift leaves out ${pagePositions} tokens at least: a context of ${contextTokens} of which ${keep} are kept ` +
        "is too short, raise --ctx or lower --keep",
    );
  const pages = Math.floor((asked.discard || rest / 2) / pagePositions);
  const discard = pagePositions * Math.min(most, Math.max(1, pages));
  const window = windows.find((size) => size > 0 && size < contextTokens && size > rest - discard);
  if (window !== undefined)
    throw invalid(
      `${rest - discard} tokens stay beside those that are kept, fewer than a window of ${window} sees: raise --ctx, ` +
        "or lower --keep or --discard",
    );
  return { how: "shift", keep, discard };
}

function rereadOf(asked: WhenFull, context: RolledContext): Roll {
  const { contextTokens } = context;
  const keep = keepOf(asked, context);
  const rest = contextTokens - keep;
  if (rest < 2) throw invalid(`${keep} tokens to keep leave nothing of a context of ${contextTokens}`);
  const discard = Math.min(rest, asked.discard || Math.ceil(rest / 2));
  return { how: "reread", keep, discard };
}

function keepOf({ keep }: WhenFull, { contextTokens, promptTokens }: RolledContext): number {
  if (keep === undefined) return Math.min(promptTokens, Math.floor(contextTokens / 4));
  return keep < 0 ? promptTokens : keep;
}

const invalid = (reason: string): HundredweightError =>
  new HundredweightError("OPTION_INVALID", `when the context is full: ${reason}`);

/** The tokens of an answer that outgrows its context: all of them, and those that are in it now. */
export class RollingTokens {
  readonly roll: Roll;
  /** In their positions now; those behind `known` are nobody's. */
  private readonly tokens: Int32Array;
  private readonly all: number[];
  /** Times that tokens were left out. */
  times = 0;

  constructor(roll: Roll, tokens: Int32Array, prompt: Int32Array) {
    this.roll = roll;
    this.tokens = tokens;
    this.all = [...prompt];
  }

  /** Tokens that have a position. */
  get known(): number {
    return Math.min(this.tokens.length, this.all.length - this.leftOut);
  }

  /** A token is decided for which there is no position left. */
  get full(): boolean {
    return this.all.length - this.leftOut > this.tokens.length;
  }

  get leftOut(): number {
    return this.times * this.roll.discard;
  }

  push(id: number): void {
    const at = this.all.length - this.leftOut;
    if (at < this.tokens.length) this.tokens[at] = id;
    this.all.push(id);
  }

  /** Leaves tokens out once more. */
  go(): void {
    this.times++;
    this.place();
  }

  /** From the beginning: nothing is left out. */
  restart(): void {
    this.times = 0;
    this.place();
  }

  private place(): void {
    const { keep } = this.roll;
    for (let at = 0; at < this.known; at++) this.tokens[at] = this.all[at < keep ? at : at + this.leftOut]!;
  }
}
