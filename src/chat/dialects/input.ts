/**
 * Holds a text that arrives in pieces, for readers written as generators: they yield where they need more of it. What
 * a reader decides depends on characters only, never on how the text was cut, because it waits until it has them.
 */

/** A reader: yields when it wants more text, and returns what it read. */
export type Reading<T> = Generator<void, T, void>;

/** Longest name of a tool that is read. OpenAI takes 64. */
const mostNameLength = 256;

export class Input {
  /** The text that has come and may still be looked at. */
  text = "";
  /** Where reading goes on. */
  at = 0;
  /** Nothing more will come. */
  ended = false;
  /** Text from here on is kept although it was read: reading may go back to it. */
  private anchor: number | undefined;

  push(text: string): void {
    const cut = Math.min(this.at, this.anchor ?? this.at);
    this.text = this.text.slice(cut) + text;
    this.at -= cut;
    if (this.anchor !== undefined) this.anchor -= cut;
  }

  /** Keeps what follows for `back`. */
  hold(): void {
    this.anchor = this.at;
  }

  /** Goes back to where `hold` was called. */
  back(): void {
    if (this.anchor !== undefined) this.at = this.anchor;
    this.anchor = undefined;
  }

  /** Lets go of the text that was read since `hold`. */
  release(): void {
    this.anchor = undefined;
  }

  get holding(): boolean {
    return this.anchor !== undefined;
  }

  /** The character `ahead` of the next one; "" after the end. */
  *peek(ahead = 0): Reading<string> {
    while (this.at + ahead >= this.text.length) {
      if (this.ended) return "";
      yield;
    }
    return this.text[this.at + ahead]!;
  }

  take(count: number): string {
    const taken = this.text.slice(this.at, this.at + count);
    this.at += count;
    return taken;
  }

  /** @returns how many characters from `ahead` on are white space */
  *spaceFrom(ahead = 0): Reading<number> {
    let n = 0;
    while (isSpace(yield* this.peek(ahead + n))) n++;
    return n;
  }

  *skipSpace(): Reading<void> {
    // Not in one statement: `at` moves while more text is waited for.
    const count = yield* this.spaceFrom();
    this.at += count;
  }

  /**
   * Whether a mark stands `ahead` of here. White space counts for nothing, neither the mark's own nor any before it or
   * between its parts: models are not exact in it.
   * @returns how many characters the mark takes, or -1
   */
  *matches(mark: string, ahead = 0): Reading<number> {
    let n = ahead;
    for (const part of mark.split(/\s+/)) {
      if (part === "") continue;
      n += yield* this.spaceFrom(n);
      for (let i = 0; i < part.length; i++) if ((yield* this.peek(n + i)) !== part[i]) return -1;
      n += part.length;
    }
    return n - ahead;
  }

  /** Takes a mark if it stands here. */
  *literal(mark: string): Reading<boolean> {
    const length = yield* this.matches(mark);
    if (length < 0) return false;
    this.at += length;
    return true;
  }

  /** Takes the name of a tool, as long as the next characters can be of one. */
  *name(): Reading<string> {
    yield* this.skipSpace();
    let n = 0;
    while (n < mostNameLength && /[\p{L}\p{N}_.:\-/]/u.test(yield* this.peek(n))) n++;
    return this.take(n);
  }
}

export function isSpace(character: string): boolean {
  return character === " " || character === "\n" || character === "\t" || character === "\r";
}

/**
 * How much of the end of a text may be the beginning of one of these marks.
 * @param from only what lies behind it counts
 */
export function beginningAtEnd(text: string, marks: readonly string[], from = 0): number {
  let longest = 0;
  for (const mark of marks) {
    for (let n = Math.min(mark.length - 1, text.length - from); n > longest; n--) {
      if (text.endsWith(mark.slice(0, n))) longest = n;
    }
  }
  return longest;
}

/** The first place of one of these marks; of several there the longest. */
export function firstMark(text: string, marks: readonly string[], from = 0): { at: number; mark: string } | undefined {
  let best: { at: number; mark: string } | undefined;
  for (const mark of marks) {
    const at = text.indexOf(mark, from);
    if (at < 0) continue;
    if (best === undefined || at < best.at || (at === best.at && mark.length > best.mark.length)) best = { at, mark };
  }
  return best;
}
