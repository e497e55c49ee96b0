/** The drafts of one answer: text that has to come where a constraint says so, else what look-ups find. */
import type { Guide } from "../../sampling/constraint/guide.js";
import { Acceptance } from "./acceptance.js";
import { LookupDrafter } from "./lookup.js";

/** As many drafts as pay, none, or always so many where there are any. */
export type DraftMode = "auto" | "off" | number;

/** Where drafts come from: the constraint, the caller's prediction, or an earlier place in the text. */
export type DraftSource = "forced" | "prediction" | "lookup";

/** Drafts that were evaluated, and how many of them were right. */
export interface DraftCount {
  readonly tried: number;
  readonly right: number;
}

export type DraftCounts = Readonly<Partial<Record<DraftSource, DraftCount>>>;

/** Rows of a pass for text that has to come: more would make those of others wait. */
const mostForced = 8;
/** A longer guess is rarely right to its end. */
const mostLookedUp = 31;

export interface DrafterOptions {
  readonly mode: DraftMode;
  /** The shares that earlier answers of this engine had. */
  readonly acceptance: Acceptance;
  readonly guide: Guide | undefined;
  /** Tokens the caller expects as the answer. */
  readonly prediction: readonly number[];
  readonly prompt: Int32Array;
}

export class Drafter {
  private readonly o: DrafterOptions;
  private readonly answer: number[] = [];
  /** Made with the first drafts: whoever answers in one token needs no index of the prompt. */
  private lookup: LookupDrafter | undefined;
  private source: DraftSource = "lookup";
  private readonly counted = new Map<DraftSource, DraftCount>();
  /** The probability that each of the last drafts is right; undefined: they are certain, or have to be tried. */
  odds: readonly number[] | undefined;

  constructor(options: DrafterOptions) {
    this.o = options;
  }

  accept(id: number): void {
    if (this.lookup === undefined) this.answer.push(id);
    else this.lookup.accept(id);
  }

  /** @returns at most `room` guesses of the next tokens */
  propose(room: number): ArrayLike<number> {
    const { mode, guide } = this.o;
    this.odds = undefined;
    if (mode === "off" || room <= 0) return [];
    const forced = guide?.forced(Math.min(room, mostForced)) ?? [];
    if (forced.length > 0) {
      this.source = "forced";
      return forced;
    }
    const most = Math.min(room, mode === "auto" ? mostLookedUp : mode);
    if (most === 0) return [];
    const { ids, odds, predicted } = this.looked().propose(most);
    this.source = predicted ? "prediction" : "lookup";
    if (mode === "auto") this.odds = odds;
    return ids;
  }

  /** So many of the last drafts were evaluated, and so many of those were right. */
  learn(tried: number, right: number): void {
    if (tried === 0) return;
    const { source } = this;
    const before = this.counted.get(source) ?? { tried: 0, right: 0 };
    this.counted.set(source, { tried: before.tried + tried, right: before.right + right });
    if (source !== "forced") this.lookup?.learn(tried, right);
  }

  /** Drafts so far, by where they came from. */
  get counts(): DraftCounts {
    return Object.fromEntries(this.counted);
  }

  private looked(): LookupDrafter {
    if (this.lookup === undefined) {
      const { acceptance, prompt, prediction } = this.o;
      this.lookup = new LookupDrafter(new Acceptance(acceptance), prompt, prediction);
      for (const id of this.answer.splice(0)) this.lookup.accept(id);
    }
    return this.lookup;
  }
}
