/** Reads the patterns of pattern.ts into nodes that are matched by walking them. */
import { symbols } from "./unicode.js";

/** Membership of a code point: by symbol, or, when a class names code points beyond ASCII, by their ranges. */
export interface CharClass {
  readonly table: Uint8Array;
  /** Pairs first, last. */
  readonly ranges: number[];
  negated: boolean;
}

export type Node =
  | { kind: "match" }
  | {
      kind: "class";
      of: CharClass;
      min: number;
      max: number;
      next: Node;
      /** An unbounded scan from `failedFrom` that ended at `failedTo` matched nothing: none starting between will. */
      failedFrom: number;
      failedTo: number;
    }
  | { kind: "choice"; options: Node[] }
  | { kind: "look"; of: CharClass; wanted: boolean; next: Node }
  | { kind: "words"; letter: CharClass; mark: CharClass; next: Node }
  | { kind: "end"; next: Node };

export const matched: Node = { kind: "match" };

const asciiLetters: [number, number][] = [
  [0x41, 0x5a],
  [0x61, 0x7a],
];
const asciiPunctuation = "!\"#%&'()*,-./:;?@[\\]_{}";
const asciiSymbols = "$+<=>^`|~";

const named: Record<string, { ascii: string | [number, number][]; symbols: number[] }> = {
  L: { ascii: asciiLetters, symbols: [symbols.letter, symbols.han] },
  LnotHan: { ascii: asciiLetters, symbols: [symbols.letter] },
  Lu: { ascii: [[0x41, 0x5a]], symbols: [symbols.letter, symbols.han] },
  Ll: { ascii: [[0x61, 0x7a]], symbols: [symbols.letter, symbols.han] },
  N: { ascii: [[0x30, 0x39]], symbols: [symbols.number] },
  M: { ascii: "", symbols: [symbols.mark] },
  P: { ascii: asciiPunctuation, symbols: [symbols.punctuation] },
  S: { ascii: asciiSymbols, symbols: [symbols.symbol] },
  Han: { ascii: "", symbols: [symbols.han, symbols.hanOther] },
};

function namedClass(name: string): CharClass {
  const definition = named[name];
  if (definition === undefined) throw new Error(`pattern: no class '${name}'`);
  const table = new Uint8Array(256);
  if (typeof definition.ascii === "string") add(table, definition.ascii);
  else for (const [first, last] of definition.ascii) table.fill(1, first, last + 1);
  for (const s of definition.symbols) table[s] = 1;
  return { table, ranges: [], negated: false };
}

/** @throws Error for a pattern that is not of the syntax: a fault of our own table */
export function parsePattern(source: string): Node {
  return new Parser(source).parse();
}

class Parser {
  #at = 0;
  readonly #source: string[];

  constructor(source: string) {
    this.#source = [...source];
  }

  parse(): Node {
    const node = this.#alternatives(matched);
    if (this.#at < this.#source.length) throw new Error(`pattern: unexpected '${this.#source[this.#at]}'`);
    return node;
  }

  /** Parses up to the closing parenthesis; every alternative continues with `next`. */
  #alternatives(next: Node): Node {
    const options = [this.#sequence(next)];
    while (this.#accept("|")) options.push(this.#sequence(next));
    return options.length === 1 ? options[0]! : { kind: "choice", options };
  }

  #sequence(next: Node): Node {
    // Continuations are built back to front, so the items are collected first.
    const items: ((next: Node) => Node)[] = [];
    while (this.#at < this.#source.length && this.#peek() !== "|" && this.#peek() !== ")") items.push(this.#item());
    return items.reduceRight((rest, item) => item(rest), next);
  }

  #item(): (next: Node) => Node {
    if (this.#accept("(?=", "(?!")) {
      const wanted = this.#source[this.#at - 1] === "=";
      const of = this.#charClass();
      this.#expect(")");
      return (next) => ({ kind: "look", of, wanted, next });
    }
    if (this.#accept("(?:")) {
      const start = this.#at;
      this.#alternatives(matched);
      this.#expect(")");
      const optional = this.#accept("?");
      return (next) => {
        const after = this.#at;
        this.#at = start;
        const group = this.#alternatives(next);
        this.#at = after;
        return optional ? { kind: "choice", options: [group, next] } : group;
      };
    }
    if (this.#accept("\\w+")) {
      const [letter, mark] = [namedClass("L"), namedClass("M")];
      return (next) => ({ kind: "words", letter, mark, next });
    }
    if (this.#accept("$")) return (next) => ({ kind: "end", next });
    const of = this.#charClass();
    const [min, max] = this.#quantifier();
    return (next) => ({ kind: "class", of, min, max, next, failedFrom: -1, failedTo: -1 });
  }

  #quantifier(): [number, number] {
    if (this.#accept("?")) return [0, 1];
    if (this.#accept("*")) return [0, Number.POSITIVE_INFINITY];
    if (this.#accept("+")) return [1, Number.POSITIVE_INFINITY];
    if (!this.#accept("{")) return [1, 1];
    const close = this.#source.indexOf("}", this.#at);
    const [min, max] = this.#source.slice(this.#at, close).join("").split(",").map(Number);
    this.#at = close + 1;
    return [min!, max ?? min!];
  }

  #charClass(): CharClass {
    const of: CharClass = { table: new Uint8Array(256), ranges: [], negated: false };
    if (!this.#accept("[")) {
      this.#member(of);
      return of;
    }
    of.negated = this.#accept("^");
    while (!this.#accept("]")) this.#member(of);
    if (of.negated) for (let i = 0; i < 256; i++) of.table[i]! ^= 1;
    return of;
  }

  /** One literal, range or named class. */
  #member(of: CharClass): void {
    if (this.#accept("\\s")) {
      add(of.table, "\t\n\v\f\r ");
      return;
    }
    if (this.#accept("\\S")) {
      of.table.fill(1);
      for (const c of "\t\n\v\f\r ") of.table[c.charCodeAt(0)] = 0;
      return;
    }
    if (this.#accept("\\d")) {
      add(of.table, "0123456789");
      return;
    }
    if (this.#accept("\\p{")) {
      const close = this.#source.indexOf("}", this.#at);
      const { table } = namedClass(this.#source.slice(this.#at, close).join(""));
      this.#at = close + 1;
      for (let i = 0; i < 256; i++) of.table[i]! |= table[i]!;
      return;
    }
    const first = this.#literal();
    const isRange = this.#peek() === "-" && this.#source[this.#at + 1] !== "]";
    if (isRange) this.#at++;
    const last = isRange ? this.#literal() : first;
    if (first < 0x80) of.table.fill(1, first, last + 1);
    else of.ranges.push(first, last);
  }

  #literal(): number {
    const escapes: Record<string, string> = { r: "\r", n: "\n", t: "\t" };
    let c = this.#source[this.#at++]!;
    if (c === "\\") {
      const escaped = this.#source[this.#at++]!;
      c = escapes[escaped] ?? escaped;
    }
    return c.codePointAt(0)!;
  }

  #peek(): string | undefined {
    return this.#source[this.#at];
  }

  #accept(...texts: string[]): boolean {
    for (const text of texts) {
      if (this.#source.slice(this.#at, this.#at + text.length).join("") === text) {
        this.#at += text.length;
        return true;
      }
    }
    return false;
  }

  #expect(text: string): void {
    if (!this.#accept(text)) throw new Error(`pattern: '${text}' expected at ${this.#at}`);
  }
}

function add(table: Uint8Array, characters: string): void {
  for (const c of characters) table[c.charCodeAt(0)] = 1;
}
