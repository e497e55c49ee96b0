/**
 * Grammars in llama.cpp's language (GBNF), as its version 0.5.0 reads them; its limits on repetitions are not needed
 * here.
 * @source llama.cpp, grammars/README and src/llama-grammar
 */
import { HundredweightError } from "../../errors.js";
import { foldRegular } from "./grammar/fold.js";
import { choice, type Grammar, type Node, nothing, repeat, ruleOf, sequence, text } from "./grammar/ir.js";
import { type CodePoints, codePointsOf, complement, everyCodePoint, lastCodePoint } from "./regex/code-points.js";
import type { Terms } from "./regex/terms.js";
import type { ConstraintTokenizer } from "./vocabulary.js";

const mostLength = 1 << 20;
const mostDepth = 200;
const mostRepeats = 1_000_000;

/** @throws OPTION_INVALID saying what is wrong in which line */
export function parseGbnf(
  terms: Terms,
  source: string,
  tokenizer: Pick<ConstraintTokenizer, "encode" | "size">,
): Grammar {
  if (source.length > mostLength) {
    throw new HundredweightError("OPTION_INVALID", `grammar: longer than ${mostLength} characters`);
  }
  return foldRegular(terms, new GbnfParser(terms, source, tokenizer).parse());
}

class GbnfParser {
  private at = 0;
  private depth = 0;
  private readonly names: string[] = [];
  private readonly numbers = new Map<string, number>();
  private readonly rules: (Node | undefined)[] = [];
  private readonly terms: Terms;
  private readonly source: string;
  private readonly tokenizer: Pick<ConstraintTokenizer, "encode" | "size">;

  constructor(terms: Terms, source: string, tokenizer: Pick<ConstraintTokenizer, "encode" | "size">) {
    this.terms = terms;
    this.source = source;
    this.tokenizer = tokenizer;
  }

  parse(): Grammar {
    this.space(true);
    while (this.at < this.source.length) this.rule();
    const missing = this.rules.indexOf(undefined);
    if (missing >= 0) throw this.fault(`rule '${this.names[missing]}' is used and nowhere defined`);
    const root = this.numbers.get("root");
    if (root === undefined) throw this.fault("there is no rule 'root'");
    return { rules: this.rules as Node[], names: this.names, root };
  }

  private rule(): void {
    const name = this.name();
    this.space(false);
    if (!this.source.startsWith("::=", this.at)) throw this.fault(`'::=' is expected behind '${name}'`);
    this.at += 3;
    this.space(true);
    const number = this.number(name);
    // A later rule of the same name replaces an earlier one.
    this.rules[number] = this.alternates(false);
    if (this.source[this.at] === "\r") this.at++;
    if (this.at < this.source.length && this.source[this.at] !== "\n") {
      throw this.fault("a rule ends with its line");
    }
    this.space(true);
  }

  private number(name: string): number {
    let number = this.numbers.get(name);
    if (number === undefined) {
      number = this.rules.length;
      this.numbers.set(name, number);
      this.names.push(name);
      this.rules.push(undefined);
    }
    return number;
  }

  private name(): string {
    const match = /^[A-Za-z0-9-]+/.exec(this.source.slice(this.at, this.at + 1000));
    if (match === null) throw this.fault("the name of a rule is expected");
    this.at += match[0].length;
    return match[0];
  }

  /** Blanks and comments; line ends as well when `lines`. */
  private space(lines: boolean): void {
    for (;;) {
      const c = this.source[this.at];
      if (c === " " || c === "\t" || (lines && (c === "\n" || c === "\r"))) this.at++;
      else if (c === "#") {
        while (this.at < this.source.length && !"\r\n".includes(this.source[this.at]!)) this.at++;
      } else return;
    }
  }

  private alternates(nested: boolean): Node {
    if (++this.depth > mostDepth) throw this.fault(`parentheses are nested deeper than ${mostDepth}`);
    const items = [this.sequence(nested)];
    while (this.source[this.at] === "|") {
      this.at++;
      this.space(true);
      items.push(this.sequence(nested));
    }
    this.depth--;
    return choice(items);
  }

  private sequence(nested: boolean): Node {
    const items: Node[] = [];
    for (let item = this.item(); item !== undefined; item = this.item()) {
      this.space(nested);
      for (let count = this.count(); count !== undefined; count = this.count()) {
        item = repeat(item, count[0], count[1]);
        this.space(nested);
      }
      items.push(item);
    }
    return items.length === 0 ? nothing : sequence(...items);
  }

  private item(): Node | undefined {
    const c = this.source[this.at];
    if (c === '"') return this.literal();
    if (c === "[") return this.bracket();
    if (c === "(") {
      this.at++;
      this.space(true);
      const inside = this.alternates(true);
      if (this.source[this.at] !== ")") throw this.fault("')' is expected");
      this.at++;
      return inside;
    }
    if (c === ".") {
      this.at++;
      return text(this.terms.class(everyCodePoint));
    }
    if (c === "<" || c === "!") return this.token();
    if (c !== undefined && /[A-Za-z0-9-]/.test(c)) return ruleOf(this.number(this.name()));
    if (c !== undefined && "*+?{".includes(c)) throw this.fault(`'${c}' has nothing before it`);
    return undefined;
  }

  private literal(): Node {
    this.at++;
    let out = "";
    while (this.source[this.at] !== '"') out += String.fromCodePoint(this.character());
    this.at++;
    return text(this.terms.literal(out));
  }

  private bracket(): Node {
    this.at++;
    const negated = this.source[this.at] === "^";
    if (negated) this.at++;
    const ranges: [number, number][] = [];
    while (this.source[this.at] !== "]") {
      const from = this.character();
      const isRange = this.source[this.at] === "-" && this.source[this.at + 1] !== "]";
      if (isRange) this.at++;
      const to = isRange ? this.character() : from;
      if (to < from) throw this.fault("a range ends before it begins");
      ranges.push([from, to]);
    }
    this.at++;
    const set: CodePoints = codePointsOf(ranges);
    return text(this.terms.class(negated ? complement(set) : set));
  }

  /** One character of a literal or a class. */
  private character(): number {
    const point = this.source.codePointAt(this.at);
    if (point === undefined) throw this.fault("the grammar ends inside of a literal or a class");
    if (point >= 0xd800 && point <= 0xdfff) throw this.fault("half a surrogate pair is no character");
    this.at += point > 0xffff ? 2 : 1;
    if (point !== 0x5c) return point;
    const c = this.source[this.at++] ?? "";
    const digits = { x: 2, u: 4, U: 8 }[c];
    if (digits !== undefined) {
      const hex = this.source.slice(this.at, this.at + digits);
      this.at += digits;
      const value = /^[0-9a-fA-F]+$/.test(hex) && hex.length === digits ? Number.parseInt(hex, 16) : Number.NaN;
      if (!(value <= lastCodePoint) || (value >= 0xd800 && value <= 0xdfff)) {
        throw this.fault(`\\${c}${hex} names no character`);
      }
      return value;
    }
    const plain = { t: 9, r: 13, n: 10, "\\": 0x5c, '"': 0x22, "[": 0x5b, "]": 0x5d }[c];
    if (plain === undefined) throw this.fault(`\\${c} is no escape`);
    return plain;
  }

  /** How often the item before it: `*`, `+`, `?`, `{m}`, `{m,}`, `{m,n}`. */
  private count(): [number, number] | undefined {
    const c = this.source[this.at];
    if (c === "*" || c === "+" || c === "?") {
      this.at++;
      return [c === "+" ? 1 : 0, c === "?" ? 1 : Number.POSITIVE_INFINITY];
    }
    if (c !== "{") return undefined;
    const match = /^\{[ \t]*(\d{1,9})[ \t]*(,?)[ \t]*(\d{0,9})[ \t]*\}/.exec(this.source.slice(this.at, this.at + 60));
    if (match === null || (match[2] === "" && match[3] !== "")) throw this.fault("{m}, {m,} or {m,n} is expected");
    this.at += match[0].length;
    const least = Number(match[1]);
    const most = match[2] === "" ? least : match[3] === "" ? Number.POSITIVE_INFINITY : Number(match[3]);
    if (most < least) throw this.fault(`${match[0]} allows no number`);
    if (least > mostRepeats) throw this.fault(`more than ${mostRepeats} repetitions`);
    return [least, most];
  }

  /** `<[1234]>`, `<name>`; with `!` any token but this one. */
  private token(): Node {
    const match = /^(!?)<(?:\[(\d{1,9})\]|([^>\n]{1,200}))>/.exec(this.source.slice(this.at, this.at + 220));
    if (match === null) throw this.fault("a token is written <[1234]> or <name>");
    this.at += match[0].length;
    const [, not, number, name] = match;
    return { kind: "token", ids: new Set([this.tokenId(number, name)]), except: not === "!" };
  }

  private tokenId(number: string | undefined, name: string | undefined): number {
    if (number !== undefined) {
      if (Number(number) < this.tokenizer.size) return Number(number);
      throw this.fault(`token ${number} is not in the vocabulary of ${this.tokenizer.size}`);
    }
    const ids = this.tokenizer.encode(`<${name}>`, { parseSpecial: true, addSpecial: false });
    if (ids.length !== 1) throw this.fault(`<${name}> is not one token but ${ids.length}`);
    return ids[0]!;
  }

  private fault(what: string): HundredweightError {
    const line = this.source.slice(0, this.at).split("\n").length;
    return new HundredweightError("OPTION_INVALID", `grammar, line ${line}: ${what}`, { line });
  }
}
