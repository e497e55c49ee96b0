/**
 * The cost of a pass of so many answer rows, learned from passes that ran. Where weights come from disk more rows are
 * free until arithmetic takes as long; with experts each row wants others, so that only measuring tells.
 */

/** Passes of which the newest speak as loud as this many. */
const mostWeight = 8;
/** A measure is trusted less with every pass that measured something else. */
const keptTrust = 0.99;
/** Less is no knowledge. */
const leastTrust = 0.5;
/** Arithmetic of one row more, in parts of a pass of one row: before a prompt has shown it. */
const firstPrice = 0.25;

interface Measured {
  ms: number;
  /** The part that does not wait for the disk. */
  computeMs: number;
  /** Passes it stands for. */
  weight: number;
  /** When it was measured, in passes. */
  pass: number;
}

export class PassCosts {
  private readonly measured = new Map<number, Measured>();
  private passes = 0;

  /** A pass of `rows` rows of answers and none of prompts. */
  record(rows: number, elapsedMs: number, stallMs: number): void {
    this.passes++;
    const before = this.measured.get(rows);
    const trust = before === undefined ? 0 : this.trust(before);
    const mean = (old: number, now: number): number => (trust * old + now) / (trust + 1);
    this.measured.set(rows, {
      ms: mean(before?.ms ?? 0, elapsedMs),
      computeMs: mean(before?.computeMs ?? 0, Math.max(0, elapsedMs - stallMs)),
      weight: Math.min(mostWeight, trust + 1),
      pass: this.passes,
    });
  }

  /**
   * The milliseconds of a pass of `plain` rows and any number of drafts; undefined where passes of so many rows have
   * not been measured for long: then the next one shall.
   * @param rowMs one more row of a prompt, where that is known: what a row of arithmetic costs at least
   */
  from(plain: number, rowMs: number | undefined): ((rows: number) => number) | undefined {
    const alone = this.measured.get(plain);
    if (alone === undefined || this.trust(alone) < leastTrust) return undefined;
    const known = [...this.measured].filter(([rows, one]) => rows > plain && this.trust(one) >= leastTrust);
    known.sort(([a], [b]) => a - b);
    // More rows never take less: where that was measured the machine was busy with something else at the plain pass.
    const ms = Math.min(alone.ms, ...known.map(([, one]) => one.ms));
    const base = { ...alone, ms, computeMs: Math.min(alone.computeMs, ms) };
    const price = rowMs ?? (base.computeMs * firstPrice) / plain;
    const expected = (rows: number): number => Math.max(base.ms, base.computeMs + (rows - plain) * price);
    return (rows) => Math.max(ms, this.estimate(rows, [plain, base], known, expected));
  }

  /** Measured passes say by how much the expectation is wrong; in between it is wrong by something in between. */
  private estimate(
    rows: number,
    base: readonly [number, Measured],
    known: readonly (readonly [number, Measured])[],
    expected: (rows: number) => number,
  ): number {
    let [below, above] = [base, undefined as (typeof known)[number] | undefined];
    for (const one of known) {
      if (one[0] <= rows) below = one;
      else above ??= one;
    }
    const wrong = ([count, { ms }]: readonly [number, Measured]): number => ms / expected(count);
    if (above === undefined) return expected(rows) * wrong(below);
    const share = (rows - below[0]) / (above[0] - below[0]);
    return expected(rows) * ((1 - share) * wrong(below) + share * wrong(above));
  }

  private trust({ weight, pass }: Measured): number {
    return weight * keptTrust ** (this.passes - pass);
  }
}
