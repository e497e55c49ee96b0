/** The drafts of one answer: text that has to come where a constraint says so, else what look-ups find. */
import type { Guide } from "../../sampling/constraint/guide.js";
import { Acceptance, agreement, agreementElsewhere, certainty } from "./acceptance.js";
import { EarlierAnswers } from "./earlier-answers.js";
import { LookupDrafter } from "./lookup.js";

/** As many drafts as pay, none, or always so many where there are any. */
export type DraftMode = "auto" | "off" | number;

/**
 * Where drafts come from: the constraint, the caller's prediction, an earlier place in the text, earlier answers of the
 * same owner, a small model, blocks of the file itself.
 */
export type DraftSource = "forced" | "prediction" | "lookup" | "earlier" | Guesser;

/** A source that guesses by evaluating. */
export type Guesser = "model" | "mtp";

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

/** Guesses tried, and those that were right; the newest count most. */
interface Hope {
  readonly tried: number;
  readonly right: number;
}

/** A guesser's first guesses of an answer count as so many tried ones. */
const firstTried = 4;
/** The share of right ones before anything is known. */
const firstHope: Hope = { tried: firstTried, right: 3 };

/** The things that all answers of an engine learn together: shares of right guesses, and what was answered. */
export class LearnedOdds {
  readonly lookup = new Acceptance(agreement);
  readonly earlier = new Acceptance(agreementElsewhere);
  readonly answers = new EarlierAnswers();
  /** Those of the guesser: an engine has one. */
  readonly certain = new Acceptance(certainty);
  hoped = firstHope;
}

/** A guesser is not asked where the text itself foretells this many tokens. */
const plentiful = 3;
const mostOfModel = 15;
/** A little nearer to what it was at first. */
const faded = (now: number, first: number): number => first + 0.995 * (now - first);
const learnt = ({ tried, right }: Hope, judged: number, good: number, kept: number): Hope => ({
  tried: kept * tried + judged,
  right: kept * right + good,
});

/** Tokens that a pass with drafts of these odds gives. */
export function expectedTokens(odds: readonly number[]): number {
  let [all, expected] = [1, 1];
  for (const p of odds) {
    all *= p;
    expected += all;
  }
  return expected;
}

export interface DrafterOptions {
  readonly mode: DraftMode;
  /** The shares that earlier answers of this engine had. */
  readonly learned: LearnedOdds;
  /** The guesser, where there is one; default a small model. */
  readonly guesser?: Guesser;
  readonly guide: Guide | undefined;
  /** Tokens the caller expects as the answer. */
  readonly prediction: readonly number[];
  readonly prompt: Int32Array;
  /** The name of those whose earlier answers count; default: nobody's in particular. */
  readonly owner?: string | undefined;
}

export class Drafter {
  private readonly o: DrafterOptions;
  private readonly answer: number[] = [];
  /** Made with the first drafts: whoever answers in one token needs no index of the prompt. */
  private lookup: LookupDrafter | undefined;
  private source: DraftSource = "lookup";
  private readonly counted = new Map<DraftSource, DraftCount>();
  private readonly certain: Acceptance;
  private certainty: readonly number[] = [];
  private hoped: Hope;
  /** The probability that each of the last drafts is right; undefined: they are certain, or have to be tried. */
  odds: readonly number[] | undefined;

  constructor(options: DrafterOptions) {
    this.o = options;
    const { certain, hoped } = options.learned;
    this.certain = new Acceptance(certainty, certain);
    this.hoped = { tried: firstTried, right: (firstTried * hoped.right) / hoped.tried };
  }

  accept(id: number): void {
    if (this.lookup === undefined) this.answer.push(id);
    else this.lookup.accept(id);
  }

  /** The answer has ended: later ones may go like it. */
  ended(): void {
    const { mode, learned, owner } = this.o;
    if (mode !== "off") learned.answers.add(owner, this.lookup?.answer ?? this.answer);
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
    const { ids, odds, source } = this.looked().propose(most);
    this.source = source;
    if (mode === "auto") this.odds = odds;
    return ids;
  }

  /** So many of the last drafts were evaluated, and so many of those were right. */
  learn(tried: number, right: number): void {
    if (tried === 0) return;
    const { source } = this;
    const before = this.counted.get(source) ?? { tried: 0, right: 0 };
    this.counted.set(source, { tried: before.tried + tried, right: before.right + right });
    if (source === "model" || source === "mtp") this.learnOfGuesser(tried, right);
    else if (source !== "forced") this.lookup?.learn(tried, right);
  }

  /** Most guesses by evaluating that are of use now. @param room those an answer may have */
  wants(room: number, drafts: number): number {
    const { mode } = this.o;
    if (mode === "off" || (drafts > 0 && this.source === "forced")) return 0;
    if (mode !== "auto") return drafts > 0 ? 0 : Math.min(room, mode);
    // What was not tried is not known for ever.
    this.hoped = { tried: faded(this.hoped.tried, firstHope.tried), right: faded(this.hoped.right, firstHope.right) };
    return expectedTokens(this.odds ?? []) >= plentiful ? 0 : Math.min(room, mostOfModel);
  }

  /** Takes guesses in place of those there are, if they promise more.  @returns whether it does */
  offer(certainty: readonly number[]): boolean {
    const odds = this.o.mode === "auto" ? certainty.map((p) => this.oddsOf(p)) : undefined;
    if (odds !== undefined && expectedTokens(this.odds ?? []) > expectedTokens(odds)) return false;
    this.source = this.o.guesser ?? "model";
    this.certainty = certainty;
    this.odds = odds;
    return true;
  }

  oddsOf(certainty: number): number {
    return this.certain.odds(certainty);
  }

  /** The share of guesses by evaluating that were right lately. */
  get hope(): number {
    return this.hoped.right / this.hoped.tried;
  }

  get always(): boolean {
    return this.o.mode !== "auto";
  }

  private learnOfGuesser(tried: number, right: number): void {
    const judged = Math.min(tried, right + 1);
    for (let i = 0; i < judged; i++) this.certain.learn(this.certainty[i]!, i < right);
    const { learned } = this.o;
    this.hoped = learnt(this.hoped, judged, Math.min(right, judged), 0.95);
    learned.hoped = learnt(learned.hoped, judged, Math.min(right, judged), 0.99);
  }

  /** Drafts so far, by where they came from. */
  get counts(): DraftCounts {
    return Object.fromEntries(this.counted);
  }

  private looked(): LookupDrafter {
    if (this.lookup === undefined) {
      const { learned, prompt, prediction, owner } = this.o;
      const own = new Acceptance(agreement, learned.lookup);
      this.lookup = new LookupDrafter(own, prompt, prediction, {
        longest: (text) => learned.answers.longest(owner, text),
        acceptance: new Acceptance(agreementElsewhere, learned.earlier),
      });
      for (const id of this.answer.splice(0)) this.lookup.accept(id);
    }
    return this.lookup;
  }
}
