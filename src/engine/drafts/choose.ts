/** Which drafts of several answers are worth their rows in the next pass. */

/** A plan that is not better by this much is not: figures are a little wrong. */
const leastGain = 1.04;

export interface DraftLimits {
  /** Rows the pass may have for drafts. */
  readonly most: number;
  /**
   * Milliseconds of passes of so many answer rows, compared with one of `plain` rows; undefined: that one is not known,
   * or the pass has other rows too.
   */
  readonly passMs: (plain: number) => ((rows: number) => number) | undefined;
}

/**
 * Takes certain drafts always, the others as far as the pass gives more tokens a second with them.
 * @param offers the odds of each answer's drafts, where those before are right
 * @returns how many of each
 */
export function chooseDrafts(offers: readonly (readonly number[])[], { most, passMs }: DraftLimits): number[] {
  let left = most;
  const counts = offers.map((odds) => {
    const uncertain = odds.findIndex((p) => p < 1);
    const certain = Math.min(left, uncertain < 0 ? odds.length : uncertain);
    left -= certain;
    return certain;
  });
  const rows = offers.length + counts.reduce((sum, count) => sum + count, 0);
  const msOf = passMs(rows);
  if (msOf === undefined) return counts;
  const uncertain = offers.flatMap((odds, answer) => {
    let all = 1;
    return odds.slice(counts[answer]).map((p) => {
      all *= p;
      return { answer, p: all };
    });
  });
  // Sorting keeps those of one answer in order: each is at most as likely as the one before.
  uncertain.sort((a, b) => b.p - a.p);
  let [tokens, best, take] = [rows, (rows / msOf(rows)) * leastGain, 0];
  for (const [i, { p }] of uncertain.slice(0, left).entries()) {
    tokens += p;
    const rate = tokens / msOf(rows + i + 1);
    if (rate > best) [best, take] = [rate, i + 1];
  }
  for (const { answer } of uncertain.slice(0, take)) counts[answer]!++;
  return counts;
}
