/**
 * Grammars in the language of Lark, as far as tools use them: rules in lower case, terminals in upper case, texts,
 * patterns, ranges, repetitions, `%import common.X`, `%ignore`. The rule `start` is the answer. Whatever else Lark has
 * is refused by name.
 * @source Lark documentation, "Grammar Reference"
 */
import { HundredweightError } from "../../errors.js";
import { foldRegular } from "./grammar/fold.js";
import { choice, type Grammar, type Node, nothing, repeat, ruleOf, sequence, text } from "./grammar/ir.js";
import { withoutLeftRecursion } from "./grammar/left-recursion.js";
import { commonTerminals } from "./lark-common.js";
import { type LarkToken, larkTokens } from "./lark-tokens.js";
import { parsePattern } from "./regex/parse.js";
import type { Term, Terms } from "./regex/terms.js";

const mostDepth = 200;
const mostRepeats = 1_000_000;

/** @throws OPTION_INVALID saying what is wrong in which line */
export function parseLark(terms: Terms, source: string): Grammar {
  const grammar = withoutLeftRecursion(new LarkParser(terms, source).parse());
  return foldRegular(terms, grammar);
}

class LarkParser {
  private readonly tokens: readonly LarkToken[];
  private at = 0;
  private depth = 0;
  private readonly terms: Terms;
  private readonly names: string[] = [];
  private readonly numbers = new Map<string, number>();
  private readonly rules: (Node | undefined)[] = [];
  private readonly ignored: Node[] = [];

  constructor(terms: Terms, source: string) {
    this.terms = terms;
    this.tokens = larkTokens(source);
  }

  parse(): Grammar {
    for (;;) {
      while (this.take("newline"));
      if (this.peek.kind === "end") break;
      if (this.peek.kind === "directive") this.directive();
      else this.rule();
    }
    const missing = this.rules.indexOf(undefined);
    if (missing >= 0) throw this.fault(`'${this.names[missing]}' is used and nowhere defined`);
    const start = this.numbers.get("start");
    if (start === undefined) throw this.fault("there is no rule 'start'");
    return this.ignored.length === 0 ? this.grammar(start) : this.ignoring(start);
  }

  private grammar(root: number): Grammar {
    return { rules: this.rules as Node[], names: this.names, root };
  }

  /** Ignored text may stand before each terminal of a rule, and at the end. */
  private ignoring(start: number): Grammar {
    const ignore = this.number("%ignore");
    this.rules[ignore] = repeat(choice(this.ignored), 0, Number.POSITIVE_INFINITY);
    const isTerminal = (rule: number): boolean => isUpper(this.names[rule]!);
    const spread = (node: Node): Node => {
      switch (node.kind) {
        case "lexeme":
          return sequence(ruleOf(ignore), node);
        case "rule":
          return isTerminal(node.rule) ? sequence(ruleOf(ignore), node) : node;
        case "sequence":
        case "choice":
          return { ...node, items: node.items.map(spread) };
        case "repeat":
          return { ...node, item: spread(node.item) };
        default:
          return node;
      }
    };
    const last = this.names.length;
    const rules = (this.rules as Node[]).map((node, rule) =>
      rule === ignore || isTerminal(rule) ? node : spread(node),
    );
    rules.push(sequence(ruleOf(start), ruleOf(ignore)));
    return { rules, names: [...this.names, "start and what is ignored"], root: last };
  }

  private rule(): void {
    const name = this.expect("name").text.replace(/^[?!]+/, "");
    if (this.take("dot")) this.expect("number"); // priorities choose between parses, not between texts
    if (/^[{[]/.test(this.peek.text)) throw this.fault(`templates and attributes ('${name}') are not supported`);
    this.expect("colon");
    const number = this.number(name);
    if (this.rules[number] !== undefined) throw this.fault(`'${name}' is defined twice`);
    this.rules[number] = this.alternatives();
    if (this.peek.kind !== "end") this.expect("newline");
  }

  private directive(): void {
    const { text: name } = this.expect("directive");
    if (name === "%ignore") {
      this.ignored.push(this.alternatives());
      return;
    }
    if (name !== "%import") throw this.fault(`${name} is not supported`);
    const path = this.expect("name").text;
    if (path !== "common" || !this.take("dot")) throw this.fault(`%import ${path}: only common.X is there`);
    const wanted = this.peek.text === "(" ? this.importList() : [this.expect("name").text];
    let alias: string | undefined;
    if (this.take("arrow")) alias = this.expect("name").text;
    for (const terminal of wanted) {
      const pattern = commonTerminals[terminal];
      if (pattern === undefined) throw this.fault(`%import common.${terminal}: there is no such terminal`);
      this.rules[this.number(alias ?? terminal)] = text(parsePattern(this.terms, pattern, { unicodeClasses: true }));
    }
  }

  private importList(): string[] {
    throw this.fault(
      "%import with a list is written `%import common (A, B)`, which is not supported; write a line each",
    );
  }

  private alternatives(): Node {
    if (++this.depth > mostDepth) throw this.fault(`parentheses are nested deeper than ${mostDepth}`);
    const items = [this.sequence()];
    for (;;) {
      // An alternative may stand in the next line.
      const from = this.at;
      while (this.take("newline"));
      if (!this.take("bar")) {
        this.at = from;
        break;
      }
      items.push(this.sequence());
    }
    this.depth--;
    return choice(items);
  }

  private sequence(): Node {
    const items: Node[] = [];
    for (let item = this.item(); item !== undefined; item = this.item()) items.push(this.counted(item));
    // Names of alternatives are for whoever reads the tree.
    if (this.take("arrow")) this.expect("name");
    return items.length === 0 ? nothing : sequence(...items);
  }

  private counted(item: Node): Node {
    for (;;) {
      if (this.take("star")) item = repeat(item, 0, Number.POSITIVE_INFINITY);
      else if (this.take("plus")) item = repeat(item, 1, Number.POSITIVE_INFINITY);
      else if (this.take("question")) item = repeat(item, 0, 1);
      else if (this.take("tilde")) {
        const least = this.count();
        item = repeat(item, least, this.take("dots") ? this.count() : least);
      } else if (this.peek.kind === "brace") {
        const [, low = "", comma, high = ""] = /^\{(\d*)(,?)(\d*)\}$/.exec(this.next().text) ?? [];
        const least = low === "" ? 0 : Number(low);
        const most = comma === "" ? least : high === "" ? Number.POSITIVE_INFINITY : Number(high);
        if (low === "" && high === "") throw this.fault("{m}, {m,} or {m,n} is expected");
        item = this.bounded(item, least, most);
      } else return item;
    }
  }

  private bounded(item: Node, least: number, most: number): Node {
    if (most < least || least > mostRepeats) throw this.fault(`a repetition of ${least} to ${most}`);
    return repeat(item, least, most);
  }

  private count(): number {
    const value = Number(this.expect("number").text);
    if (value > mostRepeats) throw this.fault(`more than ${mostRepeats} repetitions`);
    return value;
  }

  private item(): Node | undefined {
    const { terms } = this;
    const token = this.peek;
    switch (token.kind) {
      case "name":
        this.at++;
        return ruleOf(this.number(token.text.replace(/^[?!]+/, "")));
      case "string": {
        this.at++;
        if (!this.take("dots")) return text(this.literal(token));
        const to = this.expect("string");
        const [from, end] = [Array.from(token.text), Array.from(to.text)];
        if (from.length !== 1 || end.length !== 1) throw this.fault('a range is written "a".."z"');
        return text(terms.class([from[0]!.codePointAt(0)!, end[0]!.codePointAt(0)!]));
      }
      case "pattern":
        this.at++;
        return text(
          parsePattern(terms, token.text, {
            unicodeClasses: true,
            ignoreCase: token.flags.includes("i"),
            dotAll: token.flags.includes("s"),
          }),
        );
      case "open": {
        this.at++;
        const inside = this.nested(token.text === "(" ? ")" : "]");
        return token.text === "(" ? inside : repeat(inside, 0, 1);
      }
      case "other":
        throw this.fault(`'${token.text}' is not supported`);
      default:
        return undefined;
    }
  }

  private nested(end: string): Node {
    while (this.take("newline"));
    const inside = this.alternatives();
    while (this.take("newline"));
    if (this.peek.text !== end || this.peek.kind !== "close") throw this.fault(`'${end}' is expected`);
    this.at++;
    return inside;
  }

  private literal({ text: value, flags }: LarkToken): Term {
    const { terms } = this;
    if (!flags.includes("i")) return terms.literal(value);
    const escaped = value.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
    return parsePattern(terms, escaped, { ignoreCase: true });
  }

  private number(name: string): number {
    let number = this.numbers.get(name);
    if (number === undefined) {
      number = this.names.length;
      this.numbers.set(name, number);
      this.names.push(name);
      this.rules.push(undefined);
    }
    return number;
  }

  private get peek(): LarkToken {
    return this.tokens[this.at]!;
  }

  private next(): LarkToken {
    return this.tokens[this.at++]!;
  }

  private take(kind: LarkToken["kind"]): boolean {
    if (this.peek.kind !== kind) return false;
    this.at++;
    return true;
  }

  private expect(kind: LarkToken["kind"]): LarkToken {
    if (this.peek.kind === kind) return this.next();
    const found = this.peek.kind === "end" ? "the end" : `'${this.peek.text.slice(0, 40)}'`;
    throw this.fault(`${kind} is expected, ${found} is there`);
  }

  private fault(what: string): HundredweightError {
    const { line } = this.tokens[Math.min(this.at, this.tokens.length - 1)]!;
    return new HundredweightError("OPTION_INVALID", `lark grammar, line ${line}: ${what}`, { line });
  }
}

function isUpper(name: string): boolean {
  return /^_*[A-Z]/.test(name);
}
