/**
 * Drafts without a second model: what stood behind the last tokens the last time they occurred, in the prediction, the
 * prompt, the answer itself, or in earlier answers where more agrees there.
 */
import type { Acceptance } from "./acceptance.js";
import type { EarlierMatch } from "./earlier-answers.js";
import { SuffixIndex } from "./suffix-index.js";

/** Stands where one text ends and another begins; no token has this id. */
const border = -1;

export interface Drafts {
  readonly ids: readonly number[];
  /** The probability that each is right where those before it are. */
  readonly odds: readonly number[];
  /** Where they stand: in what was predicted, in the text itself, or in earlier answers. */
  readonly source: "prediction" | "lookup" | "earlier";
}

/** Earlier answers, and how often guesses from there are right. */
export interface Earlier {
  readonly longest: (text: SuffixIndex) => EarlierMatch | undefined;
  readonly acceptance: Acceptance;
}

export class LookupDrafter {
  private readonly index = new SuffixIndex();
  private readonly acceptance: Acceptance;
  private readonly earlier: Earlier | undefined;
  /** Tokens of what was predicted: they stand first, behind a border. */
  private readonly predictedTokens: number;
  /** Where the answer begins in the index. */
  private readonly answerFrom: number;
  /** The agreement before each of the last drafts, and by what it is judged. */
  private agreeing: number[] = [];
  private judged: Acceptance;

  /**
   * @param predicted what the caller expects of the answer, as tokens
   * @param prompt tokens before the answer
   */
  constructor(
    acceptance: Acceptance,
    prompt: Iterable<number>,
    predicted: readonly number[] = [],
    earlier?: Earlier | undefined,
  ) {
    this.acceptance = acceptance;
    this.judged = acceptance;
    this.earlier = earlier;
    this.predictedTokens = predicted.length;
    if (predicted.length > 0) for (const id of [border, ...predicted, border]) this.index.push(id);
    for (const id of prompt) this.index.push(id);
    this.answerFrom = this.index.length;
  }

  /** The answer has one more token. */
  accept(id: number): void {
    this.index.push(id);
  }

  /** The answer so far. */
  get answer(): Int32Array {
    return this.index.slice(this.answerFrom);
  }

  /** @param most at least 1 */
  propose(most: number): Drafts {
    const own = this.beginning() ?? this.index.longest();
    const other = this.earlier?.longest(this.index);
    const isOther = other !== undefined && other.length > (own?.length ?? 0);
    const found = isOther ? other : own;
    const from = isOther ? other.from : this.index;
    // The border, what was predicted, and a border.
    const predicted = this.predictedTokens > 0 && (found?.at ?? 0) < this.predictedTokens + 2;
    const source = isOther ? "earlier" : predicted ? "prediction" : "lookup";
    this.judged = isOther ? this.earlier!.acceptance : this.acceptance;
    const ids: number[] = [];
    const odds: number[] = [];
    this.agreeing = [];
    if (found === undefined) return { ids, odds, source: "lookup" };
    const { at, length } = found;
    const end = from.length;
    for (let i = 0; i < most; i++) {
      // A match that reaches the end repeats: what would stand behind it are its own drafts.
      if (at + i >= end && isOther) break;
      const id = at + i < end ? from.at(at + i) : ids[at + i - end]!;
      if (id === border) break;
      ids.push(id);
      odds.push(this.judged.odds(length + i));
      this.agreeing.push(length + i);
    }
    return { ids, odds, source };
  }

  /** Learns that `tried` of the last drafts were evaluated, and so many of them were right. */
  learn(tried: number, right: number): void {
    for (let i = 0; i < Math.min(tried, right + 1, this.agreeing.length); i++)
      this.judged.learn(this.agreeing[i]!, i < right);
  }

  /** The first tokens of an answer are too few to be found, but they may be those that were predicted. */
  private beginning(): { at: number; length: number } | undefined {
    const said = this.index.length - this.answerFrom;
    if (said > 2 || said >= this.predictedTokens) return undefined;
    for (let i = 0; i < said; i++) if (this.index.at(1 + i) !== this.index.at(this.answerFrom + i)) return undefined;
    // Whoever predicts an answer means it.
    return { at: 1 + said, length: 10 };
  }
}
