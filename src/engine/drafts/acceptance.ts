/**
 * How often drafts are right, by how far the text before them agrees with where they were found, or by
 * how certain a small model is. Learned while the
 * engine runs, and by each answer for itself: a file that is edited repeats its prompt, a new story does not.
 */

/** Signs of how good guesses are, in kinds that begin at `from`; the share of right ones before anything is known. */
export interface Signs {
  readonly from: readonly number[];
  readonly expected: readonly number[];
}

/** How many tokens before agree; what look-ups gave on edits, chats and new code together. */
export const agreement: Signs = {
  from: [2, 3, 4, 5, 7, 10, 15, 24, 40],
  expected: [0.2, 0.3, 0.45, 0.55, 0.65, 0.75, 0.85, 0.92, 0.95],
};
/** The same in earlier answers: fewer tokens agree by chance in a text of one's own. */
export const agreementElsewhere: Signs = {
  from: agreement.from,
  expected: [0.1, 0.15, 0.25, 0.35, 0.45, 0.6, 0.75, 0.85, 0.9],
};
/** The probability that a small model gives its guess. */
export const certainty: Signs = {
  from: [0, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99],
  expected: [0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97],
};
/** The expectation counts like so many drafts; what other answers had like so many of this one. */
const weightOfExpected = 6;
const weightOfOthers = 4;
/** The past is forgotten at this rate, so that a change of the text is noticed. */
const kept = 0.97;

export class Acceptance {
  private readonly signs: Signs;
  private readonly others: Acceptance | undefined;
  private readonly right: Float64Array;
  private readonly tried: Float64Array;

  /** @param others what earlier answers had, told what this one has too */
  constructor(signs: Signs, others?: Acceptance) {
    this.signs = signs;
    this.others = others;
    this.right = new Float64Array(signs.from.length);
    this.tried = new Float64Array(signs.from.length);
  }

  /** The probability that a draft of this sign is right. */
  odds(sign: number): number {
    const kind = this.kindOf(sign);
    const prior = this.others === undefined ? this.signs.expected[kind]! : this.others.odds(sign);
    const weight = this.others === undefined ? weightOfExpected : weightOfOthers;
    return (this.right[kind]! + weight * prior) / (this.tried[kind]! + weight);
  }

  learn(sign: number, right: boolean): void {
    const kind = this.kindOf(sign);
    this.tried[kind] = kept * this.tried[kind]! + 1;
    this.right[kind] = kept * this.right[kind]! + (right ? 1 : 0);
    this.others?.learn(sign, right);
  }

  private kindOf(sign: number): number {
    const { from } = this.signs;
    let kind = 0;
    while (kind + 1 < from.length && sign >= from[kind + 1]!) kind++;
    return kind;
  }
}
