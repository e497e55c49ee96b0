/**
 * Lexemes byte by byte: a term over code points, written in UTF-8 as it is (`text`), as a JSON string between quotes
 * (`json`), where a character may also stand as an escape, or as a part of one (`inside`). States are numbered when
 * they are met; a table holds where each byte leads.
 */
import { isAlive } from "../regex/measure.js";
import type { Term, Terms } from "../regex/terms.js";

export type Encoding = "text" | "json" | "inside";

/** Where in a character or an escape the bytes are. */
type Phase =
  | "open" // json: the opening quote comes
  | "body" // between two characters
  | "utf8" // `value` holds the bits so far, `left` continuation bytes come, none below `floor` is meant
  | "tail" // `left` continuation bytes come, whatever they are, and then the term
  | "escape" // json: behind a backslash
  | "hex" // json: `left` digits of \uXXXX come
  | "hexTail" // `left` digits come, whatever they are, and then the term
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
  marks: readonly number[] | undefined;
}

/** The lowest three bits of a step say of the state it leads to: whether it accepts, whether it may go on. */
export const acceptsFlag = 1;
export const goesOnFlag = 2;
/** Characters that stand for themselves in a JSON string lead back to where they came from. */
export const freeFlag = 4;
/** A step that was not looked at yet. */
export const unknownStep = -2;

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
  /** States between two characters, by the number of their term. */
  private readonly bodies: Readonly<Record<Encoding, Map<number, number>>> = {
    text: new Map(),
    json: new Map(),
    inside: new Map(),
  };
  readonly terms: Terms;
  /**
   * Steps: entry 256 s + b says where byte b leads from state s, as 8 times the state's number and its flags; -1 =
   * nowhere, `unknownStep` = not looked at yet. Another table after a step that was not known.
   */
  table = new Int32Array(256 * 64).fill(unknownStep);
  private flags = new Uint8Array(64);

  constructor(terms: Terms) {
    this.terms = terms;
  }

  get size(): number {
    return this.states.length;
  }

  /** Memory held, estimated: the table above all, and the terms. */
  get bytes(): number {
    return 1_300 * this.states.length + 300 * this.terms.size;
  }

  /** The state in which nothing of a lexeme has been read; -1 when it matches nothing. */
  start(encoding: Encoding, term: Term): number {
    if (!isAlive(this.terms, term)) return -1;
    return encoding === "json" ? this.state(encoding, "open", term) : this.body(encoding, term);
  }

  /** @returns -1 when the byte cannot follow */
  step(state: number, byte: number): number {
    const known = this.table[256 * state + byte]!;
    if (known === unknownStep) return this.makeStep(state, byte);
    return known < 0 ? -1 : known >> 3;
  }

  private makeStep(state: number, byte: number): number {
    const to = this.next(state, this.states[state]!, byte);
    this.table[256 * state + byte] = this.entry(to);
    return to;
  }

  private entry(to: number): number {
    return to < 0 ? -1 : (to << 3) | this.flags[to]!;
  }

  /** Whether the lexeme may end here. */
  accepts(state: number): boolean {
    return (this.flags[state]! & acceptsFlag) !== 0;
  }

  /** Whether it may go on. */
  goesOn(state: number): boolean {
    return (this.flags[state]! & goesOnFlag) !== 0;
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

  private body(encoding: Encoding, term: Term): number {
    const known = this.bodies[encoding].get(term.id);
    if (known !== undefined) return known;
    const accepts = encoding !== "json" && term.nullable;
    const goesOn = encoding === "json" || this.any(term, 0, 0x10ffff);
    const number = this.add(
      { encoding, phase: "body", term, value: 0, left: 0, floor: 0, high: 0, marks: undefined },
      (accepts ? acceptsFlag : 0) | (goesOn ? goesOnFlag : 0) | (this.isFree(encoding, term) ? freeFlag : 0),
    );
    this.bodies[encoding].set(term.id, number);
    return number;
  }

  private isFree(encoding: Encoding, term: Term): boolean {
    const { all } = this.terms;
    return (
      encoding === "json" &&
      (term === all || (term.kind === "concat" && term.parts[0] === all && term.parts[1]!.kind === "mark"))
    );
  }

  private state(encoding: Encoding, phase: Phase, term: Term, value = 0, left = 0, floor = 0, high = 0): number {
    const key = `${encoding}${phase}${term.id},${value},${left},${floor},${high}`;
    const known = this.numbers.get(key);
    if (known !== undefined) return known;
    const state = { encoding, phase, term, value, left, floor, high, marks: undefined };
    const number = this.add(state, phase === "closed" ? acceptsFlag : goesOnFlag);
    this.numbers.set(key, number);
    return number;
  }

  private add(state: State, flags: number): number {
    const number = this.states.length;
    if (number === this.flags.length) {
      const table = new Int32Array(2 * this.table.length).fill(unknownStep, this.table.length);
      table.set(this.table);
      this.table = table;
      const more = new Uint8Array(2 * number);
      more.set(this.flags);
      this.flags = more;
    }
    this.terms.account.states++;
    this.states.push(state);
    this.flags[number] = flags;
    return number;
  }

  private next(number: number, from: State, byte: number): number {
    const { encoding, phase, term, value, left } = from;
    switch (phase) {
      case "open":
        return byte === 0x22 ? this.body(encoding, term) : -1;
      case "body":
        return this.fromBody(number, from, byte);
      case "utf8": {
        if (byte < 0x80 || byte > 0xbf) return -1;
        return this.utf8(encoding, term, (value << 6) | (byte & 0x3f), left - 1, from.floor);
      }
      case "tail":
        if (byte < 0x80 || byte > 0xbf) return -1;
        return left === 1 ? this.body(encoding, term) : this.state(encoding, "tail", term, 0, left - 1);
      case "escape":
        if (byte === 0x75) return this.state(encoding, "hex", term, 0, 4);
        return escapes[byte] === undefined ? -1 : this.character(encoding, term, escapes[byte]!);
      case "hex": {
        const digit = hexDigit(byte);
        return digit < 0 ? -1 : this.hex(encoding, term, value * 16 + digit, left - 1);
      }
      case "hexTail":
        if (hexDigit(byte) < 0) return -1;
        return left === 1 ? this.body(encoding, term) : this.state(encoding, "hexTail", term, 0, left - 1);
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

  private fromBody(number: number, { encoding, term }: State, byte: number): number {
    const written = encoding !== "text";
    if (written) {
      if (byte === 0x22) return encoding === "json" && term.nullable ? this.state(encoding, "closed", term) : -1;
      if (byte === 0x5c) return this.any(term, 0, 0x10ffff) ? this.state(encoding, "escape", term) : -1;
      if (byte < 0x20) return -1;
    }
    if (byte < 0x80) return this.ascii(number, encoding, term, byte);
    if (byte >= 0xc2 && byte <= 0xdf) return this.utf8(encoding, term, byte & 0x1f, 1, 0x80);
    if (byte >= 0xe0 && byte <= 0xef) return this.utf8(encoding, term, byte & 0x0f, 2, 0x800);
    if (byte >= 0xf0 && byte <= 0xf4) return this.utf8(encoding, term, byte & 0x07, 3, 0x10000);
    return -1;
  }

  /** Behind a character of one byte; all of them that lead to the same are looked at together. */
  private ascii(number: number, encoding: Encoding, term: Term, byte: number): number {
    if (!this.hasClasses(term)) return -1;
    const { terms } = this;
    const starts = terms.starts(term);
    const at = terms.classOf(term, byte);
    const to = this.behind(encoding, terms.deriveClass(term, at));
    const end = Math.min(starts[at + 1] ?? 0x80, 0x80);
    for (let b = starts[at]!; b < end; b++) {
      if (encoding !== "text" && (b === 0x22 || b === 0x5c || b < 0x20)) continue;
      this.table[256 * number + b] = this.entry(to);
    }
    return to;
  }

  /** Bits of a character so far; refused when no character they may become can follow. */
  private utf8(encoding: Encoding, term: Term, value: number, left: number, floor: number): number {
    if (left === 0) return value < floor ? -1 : this.character(encoding, term, value);
    const first = value << (6 * left);
    const low = Math.max(first, floor);
    const high = Math.min(((value + 1) << (6 * left)) - 1, 0x10ffff);
    const next = first === low && first + (1 << (6 * left)) - 1 === high ? this.sameBehind(term, low, high) : undefined;
    if (next !== undefined) return isAlive(this.terms, next) ? this.state(encoding, "tail", next, 0, left) : -1;
    return this.any(term, low, high) ? this.state(encoding, "utf8", term, value, left, floor) : -1;
  }

  private hex(encoding: Encoding, term: Term, value: number, left: number): number {
    const [low, high] = [value * 16 ** left, (value + 1) * 16 ** left - 1];
    if (left > 0) {
      const next = this.sameBehind(term, low, high);
      if (next !== undefined) return isAlive(this.terms, next) ? this.state(encoding, "hexTail", next, 0, left) : -1;
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
    return this.behind(encoding, this.terms.derive(term, point));
  }

  private behind(encoding: Encoding, next: Term): number {
    return isAlive(this.terms, next) ? this.body(encoding, next) : -1;
  }

  /** Whether a term has classes of characters: those that match the empty text alone have none. */
  private hasClasses({ kind }: Term): boolean {
    return kind !== "empty" && kind !== "epsilon" && kind !== "mark";
  }

  /** The term behind each character of a range, when it is the same for all; no surrogates may be among them. */
  private sameBehind(term: Term, low: number, high: number): Term | undefined {
    if (!this.hasClasses(term)) return this.terms.empty;
    if (low <= 0xdfff && high >= 0xd800) return undefined;
    const at = this.terms.classOf(term, low);
    const end = this.terms.starts(term)[at + 1] ?? 0x110000;
    return high < end ? this.terms.deriveClass(term, at) : undefined;
  }

  /** Whether some character of the range may follow. */
  private any(term: Term, low: number, high: number): boolean {
    const { terms } = this;
    if (low > high || !this.hasClasses(term)) return false;
    const starts = terms.starts(term);
    for (let i = terms.classOf(term, low); i < starts.length && starts[i]! <= high; i++) {
      const from = Math.max(low, starts[i]!);
      const to = Math.min(high, (starts[i + 1] ?? 0x110000) - 1);
      // Surrogates are no characters.
      if (from >= 0xd800 && to <= 0xdfff) continue;
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
