/**
 * How often drafts are right, by how far the text before them agrees with where they were found. Learned while the
 * engine runs, and by each answer for itself: a file that is edited repeats its prompt, a new story does not.
 */

/** Where the next kind begins: an agreement of 2, 3, 4, 5 or 6 ... tokens. */
const from = [2, 3, 4, 5, 7, 10, 15, 24, 40];
/** Before anything is known; by what look-ups gave on edits, chats and new code together. */
const expected = [0.2, 0.3, 0.45, 0.55, 0.65, 0.75, 0.85, 0.92, 0.95];
/** The expectation counts like so many drafts; what other answers had like so many of this one. */
const weightOfExpected = 6;
const weightOfOthers = 4;
/** The past is forgotten at this rate, so that a change of the text is noticed. */
const kept = 0.97;

export class Acceptance {
  private readonly others: Acceptance | undefined;
  private readonly right = new Float64Array(from.length);
  private readonly tried = new Float64Array(from.length);

  /** @param others what earlier answers had, told what this one has too */
  constructor(others?: Acceptance) {
    this.others = others;
  }

  /** The probability that a draft behind so many agreeing tokens is right. */
  odds(agreeing: number): number {
    const kind = kindOf(agreeing);
    const prior = this.others === undefined ? expected[kind]! : this.others.odds(agreeing);
    const weight = this.others === undefined ? weightOfExpected : weightOfOthers;
    return (this.right[kind]! + weight * prior) / (this.tried[kind]! + weight);
  }

  learn(agreeing: number, right: boolean): void {
    const kind = kindOf(agreeing);
    this.tried[kind] = kept * this.tried[kind]! + 1;
    this.right[kind] = kept * this.right[kind]! + (right ? 1 : 0);
    this.others?.learn(agreeing, right);
  }
}

function kindOf(agreeing: number): number {
  let kind = 0;
  while (kind + 1 < from.length && agreeing >= from[kind + 1]!) kind++;
  return kind;
}
