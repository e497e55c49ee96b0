/**
 * The TeX that models write, as MathML, which browsers set themselves. A library for all of TeX (50 KB) would be half
 * of the page; this is the part that answers use. A formula with anything else in it stays as it was written.
 */
import { escapeHtml } from "../escape.js";
import {
  accents,
  fences,
  functions,
  identifiers,
  ignored,
  integrals,
  isAlphabet,
  largeOperators,
  letterOf,
  limits,
  operators,
  spaces,
  underAccents,
} from "./symbols.js";

/** Longer or deeper ones are nobody's formulas, and bounded work. */
const maxCharacters = 10_000;
const mostDepth = 40;

/** @returns undefined when the formula is not understood */
export function mathml(tex: string, display: boolean): string | undefined {
  if (tex.length > maxCharacters) return undefined;
  try {
    const inner = new Formula(tokensOf(tex)).whole();
    return `<math${display ? ' display="block"' : ""}>${inner}</math>`;
  } catch (error) {
    if (error instanceof NotUnderstood) return undefined;
    throw error;
  }
}

class NotUnderstood extends Error {}

/** `\name` or `\c`, a text with its braces, or one character. Blanks mean nothing but between letters of a text. */
function tokensOf(tex: string): string[] {
  const source = tex.replace(/(?<!\\)%.*$/gm, "");
  return source.match(/\\[A-Za-z]+\*?|\\[\s\S]|\s+|[\s\S]/gu) ?? [];
}

const row = (parts: readonly string[]): string => (parts.length === 1 ? parts[0]! : `<mrow>${parts.join("")}</mrow>`);
const mo = (text: string, attributes = ""): string => `<mo${attributes}>${escapeHtml(text)}</mo>`;
/** A function's name stands apart from what is before and after it. */
const word = ' form="prefix" lspace="0.167em" rspace="0.167em"';
const upright = (name: string): string => `<mi mathvariant="normal">${escapeHtml(name)}</mi>`;
const environments: Readonly<Record<string, readonly [open: string, close: string, kind: string]>> = {
  matrix: ["", "", ""],
  smallmatrix: ["", "", ""],
  pmatrix: ["(", ")", ""],
  bmatrix: ["[", "]", ""],
  Bmatrix: ["{", "}", ""],
  vmatrix: ["|", "|", ""],
  Vmatrix: ["‖", "‖", ""],
  array: ["", "", ""],
  cases: ["{", "", "cases"],
  aligned: ["", "", "aligned"],
  align: ["", "", "aligned"],
  "align*": ["", "", "aligned"],
  alignat: ["", "", "aligned"],
  split: ["", "", "aligned"],
  eqnarray: ["", "", "aligned"],
  equation: ["", "", ""],
  "equation*": ["", "", ""],
  gather: ["", "", ""],
  "gather*": ["", "", ""],
  gathered: ["", "", ""],
};

class Formula {
  readonly #tokens: readonly string[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly string[]) {
    this.#tokens = tokens;
  }

  whole(): string {
    // Rows and columns without an environment around them: \[ a &= b \\ c &= d \] is written, too.
    const rows = this.#rows(() => this.#peek() === undefined);
    if (this.#peek() !== undefined) throw new NotUnderstood();
    return rows.length === 1 && rows[0]!.length === 1 ? row(rows[0]!) : table(rows, "aligned");
  }

  #skip(): void {
    while (this.#at < this.#tokens.length && /^\s/.test(this.#tokens[this.#at]!)) this.#at++;
  }

  #peek(): string | undefined {
    this.#skip();
    return this.#tokens[this.#at];
  }

  #next(): string {
    const token = this.#peek();
    if (token === undefined) throw new NotUnderstood();
    this.#at++;
    return token;
  }

  #expect(token: string): void {
    if (this.#next() !== token) throw new NotUnderstood();
  }

  #take(token: string): boolean {
    if (this.#peek() !== token) return false;
    this.#at++;
    return true;
  }

  /** Cells of rows, up to where `ends`; what ends them is left. */
  #rows(ends: () => boolean): string[][] {
    const rows: string[][] = [[]];
    for (;;) {
      rows.at(-1)!.push(row(this.#list(() => ends() || this.#peek() === "&" || this.#peek() === "\\\\")));
      if (this.#take("&")) continue;
      if (!this.#take("\\\\")) break;
      this.#at += /^\[-?[\d.]+\s?(?:pt|em|ex|mm|cm)\]/.exec(this.#ahead(16))?.[0].length ?? 0; // more room below
      if (ends()) break;
      rows.push([]);
    }
    return rows;
  }

  #list(ends: () => boolean): string[] {
    if (++this.#depth > mostDepth) throw new NotUnderstood();
    const parts: string[] = [];
    while (this.#peek() !== undefined && !ends()) {
      const part = this.#scripted();
      if (part !== "") parts.push(part);
    }
    this.#depth--;
    return parts;
  }

  /** An atom with what stands at its foot and head. */
  #scripted(): string {
    const token = this.#peek()!;
    const base = token === "^" || token === "_" || token === "'" ? "<mrow></mrow>" : this.#atom();
    if (base === "") return "";
    const name = token.replace(/^\\/, "");
    let stacked = largeOperators.has(name) || limits.has(name) || /^(operatorname\*|(over|under)brace)$/.test(name);
    let [below, above, raised] = ["", "", false];
    for (;;) {
      if (this.#peek() === "\\limits" || this.#peek() === "\\nolimits") {
        stacked = this.#next() === "\\limits";
        continue;
      }
      if (this.#peek() === "'") {
        let primes = "";
        while (this.#take("'")) primes += "′";
        above += mo(primes);
      } else if (!raised && this.#take("^")) {
        raised = true;
        above += this.#argument();
      } else if (below === "" && this.#take("_")) {
        below = this.#argument();
      } else break;
    }
    if (below === "" && above === "") return base;
    const head = above === "" ? "" : `<mrow>${above}</mrow>`;
    const tag = stacked ? ["munder", "mover", "munderover"] : ["msub", "msup", "msubsup"];
    const kind = head === "" ? tag[0] : below === "" ? tag[1] : tag[2];
    return `<${kind}>${base}${below}${head}</${kind}>`;
  }

  /** The argument behind a command or ^ and _: a group, or one token. Always one element. */
  #argument(): string {
    const token = this.#peek();
    if (token !== undefined && /^[0-9]$/.test(token)) return `<mn>${this.#next()}</mn>`; // x^23 is x^2 3
    if (token !== "{") return this.#atom() || "<mrow></mrow>";
    return row(this.#group());
  }

  #group(): string[] {
    this.#expect("{");
    const parts = this.#list(() => this.#peek() === "}");
    this.#expect("}");
    return parts.length === 0 ? ["<mrow></mrow>"] : parts;
  }

  /** A group's characters as they stand, or one character. */
  #text(): string {
    if (this.#peek() !== "{") return this.#next();
    this.#at++;
    let [text, depth] = ["", 1];
    for (;;) {
      const token = this.#tokens[this.#at++];
      if (token === undefined) throw new NotUnderstood();
      if (token === "{") depth++;
      if (token === "}" && --depth === 0) return text;
      if (token === "{" || token === "}" || token === "$") continue;
      if (/^\\[A-Za-z]/.test(token)) throw new NotUnderstood();
      text += token
        .replace(/^\\[,;:!]$/, " ")
        .replace(/^\\/, "")
        .replace(/\s+|~/g, " ");
    }
  }

  #atom(): string {
    const token = this.#next();
    if (token === "{") {
      this.#at--;
      return row(this.#group());
    }
    if (token.startsWith("\\") && token.length > 1) return this.#command(token.slice(1));
    if (/[0-9]/.test(token)) {
      // 3.14 and 1,000 are numbers, but f(1,2) has two.
      const more = /^\d*(?:,\d{3}(?!\d))*(?:\.\d+)?/.exec(this.#ahead(40))![0];
      this.#at += more.length;
      return `<mn>${token}${more}</mn>`;
    }
    if (/\p{L}/u.test(token)) return `<mi>${escapeHtml(token)}</mi>`;
    if (token === "~") return `<mspace width="0.333em"></mspace>`;
    if (/[}&^_#$]/.test(token)) throw new NotUnderstood();
    if (/[()[\]|]/.test(token)) return mo(token, ' stretchy="false"');
    return mo(token === "-" ? "−" : token === "*" ? "∗" : token);
  }

  /** The next tokens as they were written. */
  #ahead(count: number): string {
    return this.#tokens.slice(this.#at, this.#at + count).join("");
  }

  #command(name: string): string {
    const symbol = identifiers.get(name);
    if (symbol !== undefined) return /[Α-Ω…⋯⋮⋱∞∅]/.test(symbol) ? upright(symbol) : `<mi>${symbol}</mi>`;
    const operator = operators.get(name) ?? integrals.get(name);
    if (operator !== undefined) return mo(operator);
    const large = largeOperators.get(name);
    if (large !== undefined) return mo(large, ' movablelimits="true"');
    const fence = fences.get(name);
    if (fence !== undefined) return mo(fence, ' stretchy="false"');
    if (functions.has(name)) return mo(name, word);
    if (limits.has(name))
      return mo(name.replace(/^(arg|lim)(?=max|min|sup|inf)/, "$1 "), `${word} movablelimits="true"`);
    const width = spaces.get(name);
    if (width !== undefined) return `<mspace width="${width}em"></mspace>`;
    if (/^\s$/.test(name)) return `<mspace width="0.333em"></mspace>`;
    if (ignored.has(name)) return "";
    const accent = accents.get(name);
    if (accent !== undefined) return `<mover accent="true">${this.#argument()}${stretching(name, accent)}</mover>`;
    const under = underAccents.get(name);
    if (under !== undefined) return `<munder>${this.#argument()}${stretching(name, under)}</munder>`;
    if (isAlphabet(name)) return this.#letters(name);
    if (/^[%#&_$]$/.test(name)) return mo(name);
    return this.#construction(name);
  }

  #construction(name: string): string {
    switch (name) {
      case "frac":
      case "dfrac":
      case "tfrac":
      case "cfrac":
        return `<mfrac>${this.#argument()}${this.#argument()}</mfrac>`;
      case "binom":
      case "dbinom":
        return (
          `<mrow>${mo("(")}<mfrac ` +
          `linethickness="0">${this.#argument()}${this.#argument()}</mfrac>${mo(")")}</mrow>`
        );
      case "sqrt": {
        if (!this.#take("[")) return `<msqrt>${this.#argument()}</msqrt>`;
        const degree = row(this.#list(() => this.#peek() === "]"));
        this.#expect("]");
        return `<mroot>${this.#argument()}${degree}</mroot>`;
      }
      case "text":
      case "textrm":
      case "textit":
      case "textbf":
      case "mbox":
      case "tag":
        return `<mtext>${escapeHtml(this.#text())}</mtext>`;
      case "mathrm":
      case "mathit":
        return upright(this.#text().trim());
      case "operatorname":
      case "operatorname*":
        return mo(this.#text().trim(), `${word}${name.endsWith("*") ? ' movablelimits="true"' : ""}`);
      case "bmod":
        return mo("mod");
      case "pmod":
        return `<mrow>${mo("(")}${upright("mod")}<mspace width="0.333em"></mspace>${this.#argument()}${mo(")")}</mrow>`;
      case "not": {
        const symbol = />([^<>]+)<\/mo>$/.exec(this.#atom())?.[1];
        if (symbol === undefined) throw new NotUnderstood();
        return `<mo>${symbol}&#x338;</mo>`;
      }
      case "overset":
      case "stackrel": {
        const above = this.#argument();
        return `<mover>${this.#argument()}${above}</mover>`;
      }
      case "underset": {
        const below = this.#argument();
        return `<munder>${this.#argument()}${below}</munder>`;
      }
      case "xrightarrow":
        return `<mover>${mo("→")}${this.#argument()}</mover>`;
      case "boxed":
        return `<mrow class="boxed">${this.#argument()}</mrow>`;
      case "left":
        return this.#fenced();
      case "begin":
        return this.#environment();
    }
    throw new NotUnderstood();
  }

  /** \mathbb R, \mathbf{xy}: letters in an alphabet of their own. */
  #letters(alphabet: string): string {
    const inner = this.#argument();
    return inner.replace(/<(mi|mn)( mathvariant="normal")?>([^<]+)</g, (_, tag: string, __, text: string) => {
      return `<${tag}>${[...text].map((c) => letterOf(alphabet, c)).join("")}<`;
    });
  }

  #delimiter(): string {
    const token = this.#next();
    if (token === ".") return "";
    const name = token.replace(/^\\/, "");
    const fence = token.startsWith("\\") ? (fences.get(name) ?? operators.get(name)) : token;
    if (fence === undefined || !(/^[()[\]|/<>]$/.test(fence) || token.startsWith("\\"))) throw new NotUnderstood();
    return mo(fence.replace("<", "⟨").replace(">", "⟩"), ' stretchy="true"');
  }

  #fenced(): string {
    const open = this.#delimiter();
    const inner = this.#list(() => this.#peek() === "\\right");
    this.#expect("\\right");
    return `<mrow>${open}${inner.join("")}${this.#delimiter()}</mrow>`;
  }

  #environment(): string {
    const name = this.#text();
    const found = environments[name];
    if (found === undefined || !Object.hasOwn(environments, name)) throw new NotUnderstood();
    if (name === "array" || name === "alignat") this.#text(); // columns: they are centred
    const rows = this.#rows(() => this.#peek() === "\\end");
    this.#expect("\\end");
    if (this.#text() !== name) throw new NotUnderstood();
    const [open, close, kind] = found;
    if (`${open}${close}${kind}` === "" && rows.length === 1 && rows[0]!.length === 1) return rows[0]![0]!;
    const fence = (text: string): string => (text === "" ? "" : mo(text, ' stretchy="true"'));
    return `<mrow>${fence(open)}${table(rows, kind)}${fence(close)}</mrow>`;
  }
}

const stretching = (name: string, sign: string): string =>
  mo(sign, /^(wide|over|under)/.test(name) ? ' stretchy="true"' : ' stretchy="false"');

function table(rows: readonly (readonly string[])[], kind: string): string {
  const filled = rows.filter((cells) => cells.length > 1 || cells[0] !== "<mrow></mrow>");
  const cells = (list: readonly string[]): string => list.map((cell) => `<mtd>${cell}</mtd>`).join("");
  const body = filled.map((list) => `<mtr>${cells(list)}</mtr>`).join("");
  return `<mtable${kind === "" ? "" : ` class="${kind}"`}>${body}</mtable>`;
}
