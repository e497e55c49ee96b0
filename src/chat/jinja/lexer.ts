/**
 * Cuts a template into text and tokens as Jinja2 does with trim_blocks and lstrip_blocks on: `-` strips white space, a
 * block swallows the line end behind it and the blanks before it on its line, `+` prevents that.
 */
import { TemplateFault } from "./errors.js";
import { Float, int, type Value } from "./values.js";

export type TokenKind = "text" | "open" | "close" | "name" | "operator" | "string" | "number" | "end";

export interface Token {
  readonly kind: TokenKind;
  /** The text, the name, the operator; `{{` or `{%` of open and close. */
  readonly text: string;
  readonly value?: Value;
  readonly line: number;
}

export const syntaxError = (message: string, line: number): TemplateFault =>
  new TemplateFault("TemplateSyntaxError", `line ${line}: ${message}`);

const opening = /\{[{%#]/g;
const rawOpening = /\{%[-+]?\s*raw\s*(?:-%\}\s*|%\})/y;
const rawClosing = /\{%([-+]?)\s*endraw\s*(?:\+%\}|-%\}\s*|%\}\n?)/g;
const commentClosing = /[+]#\}|-#\}\s*|#\}\n?/g;
const blockClosing = /[+]%\}|-%\}\s*|%\}\n?/y;
const variableClosing = /-\}\}\s*|\}\}/y;
const spaces = /\s+/y;
const float = /(?:\d+_)*\d+(?:(?:\.(?:\d+_)*\d+)?[eE][+-]?(?:\d+_)*\d+|\.(?:\d+_)*\d+)/y;
const integer = /0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0[xX](?:_?[\da-fA-F])+|[1-9](?:_?\d)*|0(?:_?0)*/y;
const nameToken = /[\p{L}\p{N}_]+/uy;
const stringToken = /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/sy;
const operator = /\/\/|\*\*|==|!=|>=|<=|[-+/*%~[\](){}<>=.:|,;]/y;
const closers: Readonly<Record<string, string>> = { ")": "(", "]": "[", "}": "{" };

/** @throws TemplateFault naming the line */
export function tokenize(template: string): Token[] {
  const source = template.replace(/\r\n?/g, "\n").replace(/\n$/, "");
  return new Lexer(source).run();
}

class Lexer {
  private readonly source: string;
  private readonly tokens: Token[] = [];
  private at = 0;
  private line = 1;
  private counted = 0;
  /** The last thing read ended a line, or nothing was read yet. */
  private lineStarts = true;

  constructor(source: string) {
    this.source = source;
  }

  run(): Token[] {
    while (this.at < this.source.length) this.next();
    this.push("end", "");
    return this.tokens;
  }

  private next(): void {
    opening.lastIndex = this.at;
    const start = opening.exec(this.source)?.index ?? this.source.length;
    const mark = this.source.slice(start, start + 2);
    const sign = this.source[start + 2];
    let text = this.source.slice(this.at, start);
    if (mark !== "" && sign === "-") text = text.trimEnd();
    else if (mark !== "" && mark !== "{{" && sign !== "+") text = this.withoutIndent(text);
    this.push("text", text);
    this.at = start;
    if (mark === "") return;
    if (mark === "{#") this.comment();
    else if (mark === "{%" && this.match(rawOpening)) this.raw();
    else this.inside(mark as "{{" | "{%", sign === "-" || sign === "+");
  }

  /** Blanks between the beginning of a line and a block are no text. */
  private withoutIndent(text: string): string {
    const from = text.lastIndexOf("\n") + 1;
    if (from === 0 && !this.lineStarts) return text;
    return text.slice(from).trim() === "" ? text.slice(0, from) : text;
  }

  private comment(): void {
    commentClosing.lastIndex = this.at + 2;
    const end = commentClosing.exec(this.source);
    if (end === null) throw syntaxError("a comment has no end", this.lineOf(this.at));
    this.leave(end.index + end[0].length);
  }

  private raw(): void {
    const from = this.at;
    rawClosing.lastIndex = from;
    const end = rawClosing.exec(this.source);
    if (end === null) throw syntaxError("a raw block has no endraw", this.lineOf(from));
    let text = this.source.slice(from, end.index);
    this.lineStarts = this.source[from - 1] === "\n";
    if (end[1] === "-") text = text.trimEnd();
    else if (end[1] !== "+") text = this.withoutIndent(text);
    this.push("text", text);
    this.leave(end.index + end[0].length);
  }

  private inside(mark: "{{" | "{%", signed: boolean): void {
    const first = this.lineOf(this.at);
    this.push("open", mark);
    this.at += signed ? 3 : 2;
    const closing = mark === "{{" ? variableClosing : blockClosing;
    const open: string[] = [];
    for (;;) {
      this.match(spaces);
      if (this.at >= this.source.length) throw syntaxError(`'${mark}' has no end`, first);
      const from = this.at;
      if (open.length === 0 && this.match(closing)) {
        const end = this.at;
        this.at = from;
        this.push("close", mark);
        this.leave(end);
        return;
      }
      this.token(open);
    }
  }

  private token(open: string[]): void {
    const from = this.at;
    const { source } = this;
    const read = (): string => source.slice(from, this.at);
    if (source[from - 1] !== "." && this.match(float)) {
      this.push("number", read(), new Float(Number(read().replaceAll("_", ""))));
    } else if (this.match(integer)) {
      if (read().length > 4300) throw syntaxError("an integer of more than 4300 digits", this.line);
      this.push("number", read(), int(BigInt(read().replaceAll("_", ""))));
    } else if (this.match(nameToken)) {
      if (/^\p{N}/u.test(read())) throw syntaxError(`'${read()}' is no name`, this.lineOf(from));
      this.push("name", read());
    } else if (this.match(stringToken)) {
      this.push("string", read(), unescaped(read().slice(1, -1)));
    } else if (this.match(operator)) {
      const text = read();
      if ("([{".includes(text)) open.push(text);
      else if (text in closers && open.pop() !== closers[text])
        throw syntaxError(`unexpected '${text}'`, this.lineOf(from));
      this.push("operator", text);
    } else {
      throw syntaxError(`unexpected character ${JSON.stringify(source[from])}`, this.lineOf(from));
    }
  }

  private match(pattern: RegExp): boolean {
    pattern.lastIndex = this.at;
    if (!pattern.test(this.source)) return false;
    this.at = pattern.lastIndex;
    return true;
  }

  private leave(to: number): void {
    this.lineStarts = this.source[to - 1] === "\n";
    this.at = to;
  }

  private push(kind: TokenKind, text: string, value?: Value): void {
    if (kind === "text" && text === "") return;
    const line = this.lineOf(this.at);
    this.tokens.push(value === undefined ? { kind, text, line } : { kind, text, value, line });
  }

  private lineOf(at: number): number {
    for (; this.counted < at; this.counted++) if (this.source.charCodeAt(this.counted) === 10) this.line++;
    return this.line;
  }
}

const escapes: Readonly<Record<string, string>> = {
  "\n": "",
  "\\": "\\",
  "'": "'",
  '"': '"',
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
};

/** Python's escapes; one that means nothing stays as it is written. */
function unescaped(text: string): string {
  return text.replace(
    /\\(?:([0-7]{1,3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))/gs,
    (whole, octal, x, u, long, other: string) => {
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal as string, 8));
      const hex = (x ?? u ?? long) as string | undefined;
      if (hex === undefined) return escapes[other] ?? whole;
      const code = Number.parseInt(hex, 16);
      return code > 0x10ffff ? whole : String.fromCodePoint(code);
    },
  );
}
