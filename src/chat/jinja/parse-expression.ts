/** Reads expressions, with the precedences of Jinja2 3.1 (a sign binds closer than `**`, `~` closer than `+`). */
import { syntaxError, type Token, type TokenKind } from "./lexer.js";
import { maxNesting } from "./limits.js";
import type { NumberOperator } from "./numbers.js";
import type { CallArguments, Comparison, Expression, Filtering } from "./syntax.js";

const constants = new Map<string, null | boolean>([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["none", null],
  ["None", null],
]);

export const isConstantName = (name: string): boolean => constants.has(name);

const comparisons = new Set(["==", "!=", "<", "<=", ">", ">="]);
const products = new Set(["*", "/", "//", "%"]);

export class ExpressionParser {
  private readonly tokens: readonly Token[];
  private at = 0;
  private nesting = 0;

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens;
  }

  get current(): Token {
    return this.tokens[this.at]!;
  }

  get next(): Token {
    return this.tokens[Math.min(this.at + 1, this.tokens.length - 1)]!;
  }

  take(): Token {
    const token = this.current;
    if (token.kind !== "end") this.at++;
    return token;
  }

  is(kind: TokenKind, text?: string): boolean {
    return this.current.kind === kind && (text === undefined || this.current.text === text);
  }

  isOperator(text: string): boolean {
    return this.is("operator", text);
  }

  skip(kind: TokenKind, text?: string): boolean {
    if (!this.is(kind, text)) return false;
    this.take();
    return true;
  }

  expect(kind: TokenKind, text?: string): Token {
    if (this.is(kind, text)) return this.take();
    throw this.unexpected(text ?? kind);
  }

  unexpected(wanted: string): Error {
    const { kind, text, line } = this.current;
    const found = kind === "end" ? "the end of the template" : kind === "close" ? "the end of the tag" : `'${text}'`;
    return syntaxError(`expected ${wanted}, found ${found}`, line);
  }

  /** Nested syntax is read by recursion: it is bounded. */
  nested<T>(read: () => T): T {
    if (++this.nesting > maxNesting) throw syntaxError(`nested deeper than ${maxNesting}`, this.current.line);
    try {
      return read();
    } finally {
      this.nesting--;
    }
  }

  /** One expression, or several with commas: a tuple. */
  tuple(conditional = true, ends: (token: Token) => boolean = () => false): Expression {
    const items: Expression[] = [];
    let commas = false;
    for (;;) {
      if (items.length > 0 || commas) {
        if (!this.skip("operator", ",")) break;
        commas = true;
      }
      if (this.endsTuple() || ends(this.current)) break;
      items.push(conditional ? this.expression() : this.or());
      if (items.length === 1 && !this.isOperator(",")) break;
      commas = this.isOperator(",");
    }
    if (!commas && items.length === 1) return items[0]!;
    if (items.length === 0) throw this.unexpected("an expression");
    return { type: "tuple", items };
  }

  private endsTuple(): boolean {
    return this.is("close") || this.isOperator(")") || this.is("end");
  }

  expression(): Expression {
    return this.nested(() => {
      let value = this.or();
      while (this.skip("name", "if")) {
        const test = this.or();
        const otherwise = this.skip("name", "else") ? this.expression() : undefined;
        value = { type: "conditional", test, holds: value, otherwise };
      }
      return value;
    });
  }

  or(): Expression {
    return this.chain(() => this.and(), "or");
  }

  private and(): Expression {
    return this.chain(() => this.not(), "and");
  }

  private chain(operand: () => Expression, type: "and" | "or"): Expression {
    let left = operand();
    this.repeat(() => {
      if (!this.skip("name", type)) return false;
      left = { type, left, right: operand() };
      return true;
    });
    return left;
  }

  /** Each round makes the tree a level deeper, as brackets would. */
  private repeat(round: () => boolean): void {
    const before = this.nesting;
    while (round()) {
      if (++this.nesting > 4 * maxNesting) throw syntaxError("an expression of too many parts", this.current.line);
    }
    this.nesting = before;
  }

  private not(): Expression {
    if (this.is("name", "not")) {
      this.take();
      return this.nested(() => ({ type: "not", operand: this.not() }));
    }
    return this.compare();
  }

  private compare(): Expression {
    const first = this.sum();
    const rest: { operator: Comparison; operand: Expression }[] = [];
    for (;;) {
      if (this.current.kind === "operator" && comparisons.has(this.current.text)) {
        rest.push({ operator: this.take().text as Comparison, operand: this.sum() });
      } else if (this.skip("name", "in")) {
        rest.push({ operator: "in", operand: this.sum() });
      } else if (this.is("name", "not") && this.next.kind === "name" && this.next.text === "in") {
        this.take();
        this.take();
        rest.push({ operator: "not in", operand: this.sum() });
      } else break;
    }
    return rest.length === 0 ? first : { type: "compare", first, rest };
  }

  private sum(): Expression {
    return this.operators(
      () => this.concat(),
      (text) => text === "+" || text === "-",
    );
  }

  private concat(): Expression {
    const parts = [this.product()];
    while (this.skip("operator", "~")) parts.push(this.product());
    return parts.length === 1 ? parts[0]! : { type: "concat", parts };
  }

  private product(): Expression {
    return this.operators(
      () => this.power(),
      (text) => products.has(text),
    );
  }

  private power(): Expression {
    return this.operators(
      () => this.unary(true),
      (text) => text === "**",
    );
  }

  private operators(operand: () => Expression, belongs: (text: string) => boolean): Expression {
    let left = operand();
    this.repeat(() => {
      if (this.current.kind !== "operator" || !belongs(this.current.text)) return false;
      const operator = this.take().text as NumberOperator;
      left = { type: "binary", operator, left, right: operand() };
      return true;
    });
    return left;
  }

  private unary(filters: boolean): Expression {
    let value: Expression;
    if (this.isOperator("-") || this.isOperator("+")) {
      const sign = this.take().text as "+" | "-";
      value = this.nested(() => ({ type: "sign", sign, operand: this.unary(false) }));
    } else value = this.primary();
    value = this.postfix(value);
    return filters ? this.filtered(value) : value;
  }

  primary(): Expression {
    const token = this.current;
    if (token.kind === "name") {
      this.take();
      if (constants.has(token.text)) return { type: "constant", value: constants.get(token.text)! };
      return { type: "name", name: token.text };
    }
    if (token.kind === "string") {
      let value = "";
      while (this.is("string")) value += this.take().value as string;
      return { type: "constant", value };
    }
    if (token.kind === "number") return { type: "constant", value: this.take().value! };
    if (this.skip("operator", "(")) {
      const value = this.nested((): Expression => {
        if (this.isOperator(")")) return { type: "tuple", items: [] };
        return this.tuple();
      });
      this.expect("operator", ")");
      return value;
    }
    if (this.skip("operator", "[")) return { type: "list", items: this.items("]", () => this.expression()) };
    if (this.skip("operator", "{")) {
      const entries = this.items("}", () => {
        const key = this.expression();
        this.expect("operator", ":");
        return [key, this.expression()] as const;
      });
      return { type: "dict", entries };
    }
    throw this.unexpected("an expression");
  }

  private items<T>(close: string, read: () => T): T[] {
    const out: T[] = [];
    while (!this.isOperator(close)) {
      if (out.length > 0) this.expect("operator", ",");
      if (this.isOperator(close)) break;
      out.push(read());
    }
    this.take();
    return out;
  }

  postfix(start: Expression): Expression {
    let value = start;
    this.repeat(() => {
      if (this.skip("operator", ".")) value = this.member(value);
      else if (this.skip("operator", "[")) value = this.subscript(value);
      else if (this.isOperator("(")) value = { type: "call", target: value, args: this.callArguments() };
      else return false;
      return true;
    });
    return value;
  }

  private member(target: Expression): Expression {
    const token = this.take();
    if (token.kind === "name") return { type: "attribute", target, name: token.text };
    if (token.kind === "number" && /^\d+$/.test(token.text)) {
      return { type: "item", target, key: { type: "constant", value: token.value! } };
    }
    throw syntaxError("expected a name or a number behind '.'", token.line);
  }

  private subscript(target: Expression): Expression {
    const parts: Expression[] = [];
    let comma = false;
    while (!this.isOperator("]")) {
      if (parts.length > 0) {
        this.expect("operator", ",");
        comma = true;
        if (this.isOperator("]")) break;
      }
      const part = this.subscribed(target);
      if (part.type === "slice") {
        this.expect("operator", "]");
        return part;
      }
      parts.push(part);
    }
    this.expect("operator", "]");
    // Nothing between the brackets is an empty tuple, as in Jinja.
    const key: Expression = parts.length === 1 && !comma ? parts[0]! : { type: "tuple", items: parts };
    return { type: "item", target, key };
  }

  private subscribed(target: Expression): Expression {
    const part = (): Expression | undefined =>
      this.isOperator(":") || this.isOperator("]") || this.isOperator(",") ? undefined : this.expression();
    const start = part();
    if (!this.skip("operator", ":")) return start ?? this.expression();
    const stop = part();
    const step = this.skip("operator", ":") ? part() : undefined;
    return { type: "slice", target, start, stop, step };
  }

  private filtered(start: Expression): Expression {
    let value = start;
    this.repeat(() => {
      if (this.isOperator("|")) value = this.filter(value);
      else if (this.is("name", "is")) value = this.test(value);
      else if (this.isOperator("(")) value = { type: "call", target: value, args: this.callArguments() };
      else return false;
      return true;
    });
    return value;
  }

  /** `|name(...)`, or without the bar the first one of a filter block. */
  filter(target: Expression | undefined, inline = false): Filtering {
    let value: Expression | undefined = target;
    let first = inline;
    do {
      if (!first) this.expect("operator", "|");
      first = false;
      const { text, line } = this.expect("name");
      const name = this.dotted(text);
      const args = this.isOperator("(") ? this.callArguments() : noCall;
      value = { type: "filter", target: value, name, args, line };
    } while (inline && this.isOperator("|"));
    return value as Filtering;
  }

  private test(target: Expression): Expression {
    const { line } = this.take();
    const negated = this.skip("name", "not");
    const name = this.dotted(this.expect("name").text);
    let args = noCall;
    const { kind, text } = this.current;
    if (this.isOperator("(")) args = this.callArguments();
    else if (
      (kind === "name" && !["else", "or", "and", "is", "if", "in", "not"].includes(text)) ||
      kind === "string" ||
      kind === "number" ||
      (kind === "operator" && ["[", "{"].includes(text))
    ) {
      args = { ...noCall, positional: [this.postfix(this.primary())] };
    }
    const value: Expression = { type: "test", target, name, args, line };
    return negated ? { type: "not", operand: value } : value;
  }

  private dotted(first: string): string {
    let name = first;
    while (this.skip("operator", ".")) name += `.${this.expect("name").text}`;
    return name;
  }

  callArguments(): CallArguments {
    this.expect("operator", "(");
    const positional: Expression[] = [];
    const named: [string, Expression][] = [];
    let rest: Expression | undefined;
    let namedRest: Expression | undefined;
    this.nested(() => {
      for (let first = true; !this.isOperator(")"); first = false) {
        if (!first) this.expect("operator", ",");
        if (this.isOperator(")")) break;
        if (this.skip("operator", "**")) namedRest = this.expression();
        else if (this.skip("operator", "*")) rest = this.expression();
        else if (this.current.kind === "name" && this.next.kind === "operator" && this.next.text === "=") {
          const name = this.take().text;
          this.take();
          named.push([name, this.expression()]);
        } else {
          if (named.length > 0 || namedRest !== undefined)
            throw syntaxError("a positional argument behind a named one", this.current.line);
          positional.push(this.expression());
        }
      }
    });
    this.expect("operator", ")");
    return { positional, named, rest, namedRest };
  }
}

const noCall: CallArguments = { positional: [], named: [], rest: undefined, namedRest: undefined };
