/**
 * Regular expressions as text: ECMAScript's with the flag `u` where that is possible (JSON Schema), and what Rust's
 * and Python's have beside it. Look-around in the middle, back-references and word borders are refused by name.
 */
import { HundredweightError } from "../../../errors.js";
import {
  type CodePoints,
  codePointsOf,
  complement,
  everyCodePoint,
  ignoreCase,
  lastCodePoint,
  union,
} from "./code-points.js";
import type { Term, Terms } from "./terms.js";
import { propertySet } from "./unicode-properties.js";

export interface PatternOptions {
  /** Letters match both cases. */
  readonly ignoreCase?: boolean;
  /** `.` matches line ends. */
  readonly dotAll?: boolean;
  /** The pattern may match anywhere in the text (JSON Schema); otherwise it is the whole text. */
  readonly search?: boolean;
  /** `\d`, `\w` are ASCII as in ECMAScript (default), or Unicode's as in Rust and Python. */
  readonly unicodeClasses?: boolean;
}

/** Patterns nested deeper, or longer, are refused. */
const mostDepth = 200;
const mostLength = 20_000;
/** Counted repetitions of repetitions multiply. */
const mostCount = 1_000_000;

const digits: CodePoints = [0x30, 0x39];
const word: CodePoints = [0x30, 0x39, 0x41, 0x5a, 0x5f, 0x5f, 0x61, 0x7a];
/** ECMAScript's white space and line ends. */
const space: CodePoints = codePointsOf(
  [0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff]
    .map((c) => [c, c] as const)
    .concat([[0x2000, 0x200a]]),
);
const lineEnds: CodePoints = [0x0a, 0x0a, 0x0d, 0x0d, 0x2028, 0x2029];

/** A place of a pattern: a term, with `^` and `$` as what they demand of the text before and after. */
interface Piece {
  readonly term: Term;
  /** The text begins, or ends, here. */
  readonly start?: boolean;
  readonly end?: boolean;
}

/** @throws OPTION_INVALID naming what is wrong or not supported */
export function parsePattern(terms: Terms, source: string, options: PatternOptions = {}): Term {
  if (source.length > mostLength) throw bad(source, `is longer than ${mostLength} characters`);
  return new PatternParser(terms, source, options).parse();
}

class PatternParser {
  private at = 0;
  private depth = 0;
  private readonly text: readonly string[];
  private readonly terms: Terms;
  private readonly source: string;
  private readonly options: PatternOptions;
  private foldCase: boolean;
  private dotAll: boolean;

  constructor(terms: Terms, source: string, options: PatternOptions) {
    this.terms = terms;
    this.source = source;
    this.options = options;
    this.text = Array.from(source);
    this.foldCase = options.ignoreCase ?? false;
    this.dotAll = options.dotAll ?? false;
  }

  parse(): Term {
    const pieces = this.alternatives();
    if (this.at < this.text.length) throw this.fault(`has a '${this.text[this.at]}' without its partner`);
    const { terms } = this;
    const search = this.options.search === true;
    return terms.alt(
      pieces.map(({ term, start, end }) => {
        const before = search && start !== true ? terms.all : terms.epsilon;
        const after = search && end !== true ? terms.all : terms.epsilon;
        return terms.concat(before, terms.concat(term, after));
      }),
    );
  }

  private alternatives(): Piece[] {
    if (++this.depth > mostDepth) throw this.fault(`is nested deeper than ${mostDepth}`);
    const out = [...this.sequence()];
    while (this.take("|")) out.push(...this.sequence());
    this.depth--;
    return this.merged(out);
  }

  /** Pieces that demand the same of the text around them are one. */
  private merged(pieces: readonly Piece[]): Piece[] {
    const kinds = new Map<string, Piece[]>();
    for (const piece of pieces) {
      const key = `${piece.start === true} ${piece.end === true}`;
      kinds.set(key, [...(kinds.get(key) ?? []), piece]);
    }
    return [...kinds.values()].map((same) => ({ ...same[0]!, term: this.terms.alt(same.map(({ term }) => term)) }));
  }

  /** One sequence; several pieces where groups with anchors inside multiply it. */
  private sequence(): Piece[] {
    let pieces: Piece[] = [{ term: this.terms.epsilon }];
    while (this.at < this.text.length && this.peek !== "|" && this.peek !== ")") {
      const next = this.repeated();
      const joined = pieces.flatMap((a) => next.flatMap((b) => this.join(a, b)));
      if (joined.length > 64) throw this.fault("has too many anchors in groups");
      pieces = joined;
    }
    return pieces;
  }

  /** The text that follows `$`, or stands before `^`, can only be the empty text. */
  private join(a: Piece, b: Piece): Piece[] {
    const { terms } = this;
    const before = b.start === true ? onlyEmpty(terms, a.term) : a.term;
    const after = a.end === true ? onlyEmpty(terms, b.term) : b.term;
    const term = terms.concat(before, after);
    if (term === terms.empty && a.term !== terms.empty && b.term !== terms.empty) return [];
    return [{ term, start: a.start === true || b.start === true, end: a.end === true || b.end === true }];
  }

  private repeated(): Piece[] {
    const from = this.at;
    const items = this.item();
    let least = 1;
    let most = 1;
    const count = this.count();
    if (count === undefined) return items;
    [least, most] = count;
    this.take("?"); // reluctant: the same texts
    if (["*", "+", "?"].includes(this.peek ?? "") || this.counted()) throw this.fault("repeats a repetition");
    if (items.some(({ start, end }) => start === true || end === true)) {
      if (least === 0) return [...items, { term: this.terms.epsilon }];
      if (most === 1) return items;
      throw this.fault(`repeats an anchor at ${from}`);
    }
    return [{ term: this.terms.repeat(this.terms.alt(items.map(({ term }) => term)), least, most) }];
  }

  private counted(): boolean {
    return this.peek === "{" && /^\{\d+(,\d*)?\}/.test(this.text.slice(this.at, this.at + 24).join(""));
  }

  private count(): [number, number] | undefined {
    if (this.take("*")) return [0, Number.POSITIVE_INFINITY];
    if (this.take("+")) return [1, Number.POSITIVE_INFINITY];
    if (this.take("?")) return [0, 1];
    if (!this.counted()) return undefined;
    const [whole, low, comma, high] = /^\{(\d+)(,)?(\d*)\}/.exec(this.text.slice(this.at, this.at + 24).join(""))!;
    this.at += whole!.length;
    const least = Number(low);
    const most = comma === undefined ? least : high === "" ? Number.POSITIVE_INFINITY : Number(high);
    if (most < least) throw this.fault(`has a repetition ${whole} whose most is less than its least`);
    if (least > mostCount) throw this.fault(`repeats more than ${mostCount} times`);
    return [least, most];
  }

  private item(): Piece[] {
    const c = this.text[this.at++]!;
    switch (c) {
      case "(":
        return this.group();
      case "[":
        return [{ term: this.terms.class(this.fold(this.bracket())) }];
      case ".":
        return [{ term: this.terms.class(this.dotAll ? everyCodePoint : complement(lineEnds)) }];
      case "^":
        return [{ term: this.terms.epsilon, start: true }];
      case "$":
        return [{ term: this.terms.epsilon, end: true }];
      case "\\":
        return this.escaped();
      case "*":
      case "+":
      case "?":
        throw this.fault(`has a '${c}' with nothing before it`);
      default:
        return [this.one(c.codePointAt(0)!)];
    }
  }

  private one(point: number): Piece {
    return { term: this.terms.class(this.fold([point, point])) };
  }

  private fold(set: CodePoints): CodePoints {
    return this.foldCase ? ignoreCase(set) : set;
  }

  private group(): Piece[] {
    const { foldCase, dotAll } = this;
    if (this.take("?")) {
      if (this.take(":")) {
        // A group without a number.
      } else if (this.take("P") || this.peek === "<") {
        if (!this.take("<") || this.peek === "=" || this.peek === "!") throw this.unsupported("look-behind");
        while (this.at < this.text.length && !this.take(">")) this.at++;
      } else if (this.peek === "=" || this.peek === "!") {
        throw this.unsupported("look-ahead");
      } else this.flags();
    }
    const inside = this.text[this.at - 1] === ")" && this.flagsOnly ? [{ term: this.terms.epsilon }] : this.closed();
    if (!this.flagsOnly) [this.foldCase, this.dotAll] = [foldCase, dotAll];
    this.flagsOnly = false;
    return inside;
  }

  private flagsOnly = false;

  private closed(): Piece[] {
    const inside = this.alternatives();
    if (!this.take(")")) throw this.fault("has a group that does not end");
    return inside;
  }

  /** `(?i)` to the end of the group around it, `(?i:...)` inside. */
  private flags(): void {
    let on = true;
    for (let c = this.text[this.at++]; c !== ":" && c !== ")"; c = this.text[this.at++]) {
      if (c === "-") on = false;
      else if (c === "i") this.foldCase = on;
      else if (c === "s") this.dotAll = on;
      else if (c !== "u" && c !== "m") throw this.fault(`has a group flag '${c ?? ""}' that is not known`);
    }
    this.flagsOnly = this.text[this.at - 1] === ")";
  }

  private escaped(): Piece[] {
    const c = this.peek;
    if (c === "b" || c === "B") throw this.unsupported(`\\${c}`);
    if (c === "A") return this.skip({ term: this.terms.epsilon, start: true });
    if (c === "z" || c === "Z") return this.skip({ term: this.terms.epsilon, end: true });
    if (c === "k" || (c !== undefined && c >= "1" && c <= "9")) throw this.unsupported("a back-reference");
    const set = this.escapedSet();
    return [{ term: this.terms.class(this.fold(set)) }];
  }

  private skip(piece: Piece): Piece[] {
    this.at++;
    return [piece];
  }

  /** The set that a backslash and its letter stand for. */
  private escapedSet(): CodePoints {
    const c = this.text[this.at++];
    const unicode = this.options.unicodeClasses === true;
    switch (c) {
      case undefined:
        throw this.fault("ends with a backslash");
      case "d":
        return unicode ? propertySet("Nd")! : digits;
      case "D":
        return complement(unicode ? propertySet("Nd")! : digits);
      case "w":
        return unicode ? unicodeWord() : word;
      case "W":
        return complement(unicode ? unicodeWord() : word);
      case "s":
        return space;
      case "S":
        return complement(space);
      case "p":
      case "P": {
        const set = this.property();
        return c === "p" ? set : complement(set);
      }
      default: {
        const point = this.escapedPoint(c);
        return [point, point];
      }
    }
  }

  private property(): CodePoints {
    let name = this.text[this.at++] ?? "";
    if (name === "{") {
      name = "";
      while (this.at < this.text.length && this.peek !== "}") name += this.text[this.at++];
      this.at++;
    }
    const negated = name.startsWith("^");
    const set = propertySet(negated ? name.slice(1) : name);
    if (set === undefined) throw this.fault(`names a property \\p{${name}} that is not known`);
    return negated ? complement(set) : set;
  }

  private escapedPoint(c: string): number {
    const controls: Readonly<Record<string, number>> = { t: 9, n: 10, v: 11, f: 12, r: 13, a: 7, e: 27, 0: 0 };
    if (Object.hasOwn(controls, c)) return controls[c]!;
    if (c === "c" && /^[A-Za-z]$/.test(this.peek ?? "")) return this.text[this.at++]!.codePointAt(0)! % 32;
    if (c === "x" || c === "u" || c === "U") {
      if (this.take("{")) {
        let hex = "";
        while (this.at < this.text.length && this.peek !== "}") hex += this.text[this.at++];
        this.at++;
        return this.hexPoint(hex);
      }
      const length = c === "x" ? 2 : c === "u" ? 4 : 8;
      const high = this.hexPoint(this.text.slice(this.at, this.at + length).join(""), length);
      this.at += length;
      if (c !== "u" || high < 0xd800 || high > 0xdbff) return high;
      // A pair of surrogates, as ECMAScript writes characters beyond 16 bits.
      const rest = this.text.slice(this.at, this.at + 6).join("");
      const low = /^\\u([dD][c-fC-F][0-9a-fA-F]{2})$/.exec(rest);
      if (low === null) return high;
      this.at += 6;
      return 0x10000 + (high - 0xd800) * 0x400 + Number.parseInt(low[1]!, 16) - 0xdc00;
    }
    if (/[A-Za-z0-9]/.test(c)) throw this.fault(`has an escape \\${c} that is not known`);
    return c.codePointAt(0)!;
  }

  private hexPoint(hex: string, length?: number): number {
    const ok = /^[0-9a-fA-F]{1,8}$/.test(hex) && (length === undefined || hex.length === length);
    const point = ok ? Number.parseInt(hex, 16) : Number.NaN;
    if (!(point <= lastCodePoint)) throw this.fault(`has an escape that names no character: '${hex}'`);
    return point;
  }

  private bracket(): CodePoints {
    const negated = this.take("^");
    const ranges: [number, number][] = [];
    let more: CodePoints = [];
    for (let first = true; ; first = false) {
      if (this.at >= this.text.length) throw this.fault("has a '[' without its ']'");
      // A `]` at the beginning is a letter to Python and Rust, the end of an empty set to ECMAScript.
      if (this.peek === "]" && !(first && this.options.unicodeClasses === true)) break;
      const from = this.bracketItem();
      const at = this.at;
      if (
        from.length === 2 &&
        from[0] === from[1] &&
        this.take("-") &&
        this.peek !== "]" &&
        this.at < this.text.length
      ) {
        const to = this.bracketItem();
        if (to.length === 2 && to[0] === to[1]) {
          if (to[0]! < from[0]!) throw this.fault("has a range whose end comes before its start");
          ranges.push([from[0]!, to[0]!]);
          continue;
        }
        more = union(more, union(to, [0x2d, 0x2d]));
      } else this.at = at;
      more = union(more, from);
    }
    this.at++;
    const set = union(codePointsOf(ranges), more);
    return negated ? complement(this.fold(set)) : set;
  }

  private bracketItem(): CodePoints {
    const c = this.text[this.at++]!;
    if (c === "[" && this.peek === ":") throw this.unsupported("a POSIX class");
    if (c !== "\\") return [c.codePointAt(0)!, c.codePointAt(0)!];
    if (this.take("b")) return [8, 8];
    return this.escapedSet();
  }

  private get peek(): string | undefined {
    return this.text[this.at];
  }

  private take(c: string): boolean {
    if (this.text[this.at] !== c) return false;
    this.at++;
    return true;
  }

  private unsupported(what: string): HundredweightError {
    return this.fault(`uses ${what}, which is not supported`);
  }

  private fault(what: string): HundredweightError {
    return bad(this.source, what);
  }
}

function onlyEmpty(terms: Terms, term: Term): Term {
  return term.nullable ? terms.epsilon : terms.empty;
}

function unicodeWord(): CodePoints {
  return ["L", "M", "Nd", "Pc"].map((name) => propertySet(name)!).reduce(union);
}

function bad(source: string, what: string): HundredweightError {
  const shown = source.length > 60 ? `${source.slice(0, 60)}...` : source;
  return new HundredweightError("OPTION_INVALID", `pattern /${shown}/ ${what}`, { pattern: shown });
}
