/**
 * Lexemes byte by byte: a term over code points, written in UTF-8 as it is (`text`), as a JSON string between quotes
 * (`json`), where a character may also stand as an escape, or as a part of one (`inside`). States are numbered when
 * they are met; a table holds where each byte leads.
 */
import { everyCodePoint, intersect } from "../regex/code-points.js";
import { isAlive } from "../regex/measure.js";
import type { Term, Terms } from "../regex/terms.js";

export type Encoding = "text" | "json" | "inside";

/** Where in a character or an escape the bytes are. */
type Phase =
  | "open" // json: the opening quote comes
  | "body" // between two characters
  | "utf8" // `value` holds the bits so far, `left` continuation bytes come, none below `floor` is meant
  | "escape" // json: behind a backslash
  | "hex" // json: `left` digits of \uXXXX come
  | "low" // json: `value` is a high surrogate, its partner's backslash comes
  | "lowU" // its u
  | "lowHex" // `left` digits of it
  | "closed"; // json: behind the closing quote

interface State {
  readonly encoding: Encoding;
  readonly phase: Phase;
  readonly term: Term;
  readonly value: number;
  readonly left: number;
  readonly floor: number;
  readonly high: number;
  /** Next states by byte; -1 = none, -2 = not looked at yet. Made at the first step. */
  row: Int32Array | undefined;
  readonly accepts: boolean;
  /** Whether any byte leads on. */
  readonly goesOn: boolean;
  marks: readonly number[] | undefined;
}

const unknown = -2;
const escapes: Readonly<Record<number, number>> = {
  34: 0x22,
  92: 0x5c,
  47: 0x2f,
  98: 8,
  102: 12,
  110: 10,
  114: 13,
  116: 9,
};

export class Lexemes {
  private readonly states: State[] = [];
  private readonly numbers = new Map<string, number>();
  readonly terms: Terms;

  constructor(terms: Terms) {
    this.terms = terms;
  }

  get size(): number {
    return this.states.length;
  }

  /** The state in which nothing of a lexeme has been read; -1 when it matches nothing. */
  start(encoding: Encoding, term: Term): number {
    if (!isAlive(this.terms, term)) return -1;
    return this.state(encoding, encoding === "json" ? "open" : "body", term);
  }

  /** @returns -1 when the byte cannot follow */
  step(state: number, byte: number): number {
    const from = this.states[state]!;
    from.row ??= new Int32Array(256).fill(unknown);
    const known = from.row[byte]!;
    if (known !== unknown) return known;
    const to = this.next(from, byte);
    from.row[byte] = to;
    return to;
  }

  /** Whether the lexeme may end here. */
  accepts(state: number): boolean {
    return this.states[state]!.accepts;
  }

  /** Whether it may go on. */
  goesOn(state: number): boolean {
    return this.states[state]!.goesOn;
  }

  /** Numbers of the marks at which it may end here. */
  marks(state: number): readonly number[] {
    const s = this.states[state]!;
    s.marks ??= this.terms.marks(s.term);
    return s.marks;
  }

  /** The term whose characters come next, when the state lies between two characters. */
  betweenCharacters(state: number): Term | undefined {
    const { phase, term } = this.states[state]!;
    return phase === "body" ? term : undefined;
  }

  isJson(state: number): boolean {
    return this.states[state]!.encoding === "json";
  }

  private state(encoding: Encoding, phase: Phase, term: Term, value = 0, left = 0, floor = 0, high = 0): number {
    const key = `${encoding}${phase}${term.id},${value},${left},${floor},${high}`;
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    const number = this.states.length;
    const accepts = phase === "closed" || (encoding !== "json" && phase === "body" && term.nullable);
    const goesOn = phase === "body" && encoding !== "json" ? this.any(term, 0, 0x10ffff) : phase !== "closed";
    const row = undefined;
    this.states.push({ encoding, phase, term, value, left, floor, high, row, accepts, goesOn, marks: undefined });
    this.numbers.set(key, number);
    return number;
  }

  private next(from: State, byte: number): number {
    const { encoding, phase, term, value, left } = from;
    switch (phase) {
      case "open":
        return byte === 0x22 ? this.state(encoding, "body", term) : -1;
      case "body":
        return this.fromBody(from, byte);
      case "utf8": {
        if (byte < 0x80 || byte > 0xbf) return -1;
        return this.utf8(encoding, term, (value << 6) | (byte & 0x3f), left - 1, from.floor);
      }
      case "escape":
        if (byte === 0x75) return this.state(encoding, "hex", term, 0, 4);
        return escapes[byte] === undefined ? -1 : this.character(encoding, term, escapes[byte]!);
      case "hex": {
        const digit = hexDigit(byte);
        return digit < 0 ? -1 : this.hex(encoding, term, value * 16 + digit, left - 1);
      }
      case "low":
        return byte === 0x5c ? this.state(encoding, "lowU", term, 0, 0, 0, from.high) : -1;
      case "lowU":
        return byte === 0x75 ? this.state(encoding, "lowHex", term, 0, 4, 0, from.high) : -1;
      case "lowHex": {
        const digit = hexDigit(byte);
        return digit < 0 ? -1 : this.lowHex(encoding, term, from.high, value * 16 + digit, left - 1);
      }
      case "closed":
        return -1;
    }
  }

  private fromBody({ encoding, term }: State, byte: number): number {
    if (encoding !== "text") {
      if (byte === 0x22) return encoding === "json" && term.nullable ? this.state(encoding, "closed", term) : -1;
      if (byte === 0x5c) return this.any(term, 0, 0x10ffff) ? this.state(encoding, "escape", term) : -1;
      if (byte < 0x20) return -1;
    }
    if (byte < 0x80) return this.character(encoding, term, byte);
    if (byte >= 0xc2 && byte <= 0xdf) return this.utf8(encoding, term, byte & 0x1f, 1, 0x80);
    if (byte >= 0xe0 && byte <= 0xef) return this.utf8(encoding, term, byte & 0x0f, 2, 0x800);
    if (byte >= 0xf0 && byte <= 0xf4) return this.utf8(encoding, term, byte & 0x07, 3, 0x10000);
    return -1;
  }

  /** Bits of a character so far; refused when no character they may become can follow. */
  private utf8(encoding: Encoding, term: Term, value: number, left: number, floor: number): number {
    if (left === 0) return value < floor ? -1 : this.character(encoding, term, value);
    const low = Math.max(value << (6 * left), floor);
    const high = Math.min(((value + 1) << (6 * left)) - 1, 0x10ffff);
    return this.any(term, low, high) ? this.state(encoding, "utf8", term, value, left, floor) : -1;
  }

  private hex(encoding: Encoding, term: Term, value: number, left: number): number {
    const [low, high] = [value * 16 ** left, (value + 1) * 16 ** left - 1];
    if (left > 0) {
      const pairs = this.any(
        term,
        0x10000 + (Math.max(low, 0xd800) - 0xd800) * 0x400,
        afterPair(Math.min(high, 0xdbff)),
      );
      const possible = this.any(term, low, high) || (low <= 0xdbff && high >= 0xd800 && pairs);
      return possible ? this.state(encoding, "hex", term, value, left) : -1;
    }
    if (value < 0xd800 || value > 0xdfff) return this.character(encoding, term, value);
    if (value > 0xdbff || !this.any(term, 0x10000 + (value - 0xd800) * 0x400, afterPair(value))) return -1;
    return this.state(encoding, "low", term, 0, 0, 0, value);
  }

  private lowHex(encoding: Encoding, term: Term, high: number, value: number, left: number): number {
    const from = Math.max(value * 16 ** left, 0xdc00);
    const to = Math.min((value + 1) * 16 ** left - 1, 0xdfff);
    if (from > to) return -1;
    const base = 0x10000 + (high - 0xd800) * 0x400 - 0xdc00;
    if (left === 0) return this.character(encoding, term, base + value);
    return this.any(term, base + from, base + to) ? this.state(encoding, "lowHex", term, value, left, 0, high) : -1;
  }

  private character(encoding: Encoding, term: Term, point: number): number {
    if (point >= 0xd800 && point <= 0xdfff) return -1;
    const next = this.terms.derive(term, point);
    return isAlive(this.terms, next) ? this.state(encoding, "body", next) : -1;
  }

  /** Whether some character of the range may follow. */
  private any(term: Term, low: number, high: number): boolean {
    const { terms } = this;
    if (term.kind === "empty" || term.kind === "epsilon" || term.kind === "mark") return false;
    const starts = terms.starts(term);
    for (let i = 0; i < starts.length && starts[i]! <= high; i++) {
      const end = (starts[i + 1] ?? 0x110000) - 1;
      if (end < low) continue;
      if (intersect([Math.max(low, starts[i]!), Math.min(high, end)], everyCodePoint).length === 0) continue;
      if (isAlive(terms, terms.deriveClass(term, i))) return true;
    }
    return false;
  }
}

/** The last character whose high surrogate this is. */
function afterPair(high: number): number {
  return 0x10000 + (high - 0xd800) * 0x400 + 0x3ff;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
