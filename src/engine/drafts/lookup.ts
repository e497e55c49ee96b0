/**
 * Drafts without a second model: what stood behind the last tokens the last time they occurred, in the prediction, the
 * prompt or the answer itself.
 */
import type { Acceptance } from "./acceptance.js";
import { SuffixIndex } from "./suffix-index.js";

/** Stands where one text ends and another begins; no token has this id. */
const border = -1;

export interface Drafts {
  readonly ids: readonly number[];
  /** The probability that each is right where those before it are. */
  readonly odds: readonly number[];
  /** They stand in what was predicted, not in the text itself. */
  readonly predicted: boolean;
}

export class LookupDrafter {
  private readonly index = new SuffixIndex();
  private readonly acceptance: Acceptance;
  /** Tokens of what was predicted: they stand first, behind a border. */
  private readonly predictedTokens: number;
  /** Where the answer begins in the index. */
  private readonly answerFrom: number;
  /** The agreement before each of the last drafts. */
  private agreeing: number[] = [];

  /**
   * @param predicted what the caller expects of the answer, as tokens
   * @param prompt tokens before the answer
   */
  constructor(acceptance: Acceptance, prompt: Iterable<number>, predicted: readonly number[] = []) {
    this.acceptance = acceptance;
    this.predictedTokens = predicted.length;
    if (predicted.length > 0) for (const id of [border, ...predicted, border]) this.index.push(id);
    for (const id of prompt) this.index.push(id);
    this.answerFrom = this.index.length;
  }

  /** The answer has one more token. */
  accept(id: number): void {
    this.index.push(id);
  }

  /** @param most at least 1 */
  propose(most: number): Drafts {
    const found = this.beginning() ?? this.index.longest();
    const ids: number[] = [];
    const odds: number[] = [];
    this.agreeing = [];
    if (found === undefined) return { ids, odds, predicted: false };
    const { at, length } = found;
    const end = this.index.length;
    for (let i = 0; i < most; i++) {
      // A match that reaches the end repeats: what would stand behind it are its own drafts.
      const id = at + i < end ? this.index.at(at + i) : ids[at + i - end]!;
      if (id === border) break;
      ids.push(id);
      odds.push(this.acceptance.odds(length + i));
      this.agreeing.push(length + i);
    }
    // The border, what was predicted, and a border.
    return { ids, odds, predicted: at < this.predictedTokens + 2 && this.predictedTokens > 0 };
  }

  /** Learns that `tried` of the last drafts were evaluated, and so many of them were right. */
  learn(tried: number, right: number): void {
    for (let i = 0; i < Math.min(tried, right + 1, this.agreeing.length); i++)
      this.acceptance.learn(this.agreeing[i]!, i < right);
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
