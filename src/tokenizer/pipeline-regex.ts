/**
 * Patterns of tokenizer.json, which are Oniguruma's, as JavaScript's. What differs is rewritten: white space, word
 * characters and digits of classes, groups without case, escapes that only one of them has.
 */
import { HundredweightError } from "../errors.js";
import { unsupported } from "./pipeline-steps.js";

const mostLength = 8192;
/** The classes as they are written inside brackets. */
const inside: Readonly<Record<string, string>> = {
  s: "\\p{White_Space}",
  w: "\\p{L}\\p{M}\\p{Nd}\\p{Pc}",
  d: "\\p{Nd}",
  h: "0-9A-Fa-f",
};
/** Letters that fold to an ASCII one beside its two cases. */
const folded: Readonly<Record<string, string>> = { s: "\u017f", k: "\u212a" };

/** @throws TOKENIZER_UNSUPPORTED */
export function translated(source: string): RegExp {
  if (source.length > mostLength) throw unsupported("a pattern of", `${source.length} characters`);
  try {
    return new RegExp(new Translator(source).run(), "gu");
  } catch (error) {
    if (error instanceof HundredweightError) throw error;
    throw unsupported("the pattern", source);
  }
}

class Translator {
  readonly #source: string;
  #at = 0;
  /** Whether case counts, by open groups. */
  readonly #folds: boolean[] = [false];

  constructor(source: string) {
    this.#source = source;
  }

  run(): string {
    let out = "";
    while (this.#at < this.#source.length) out += this.#next();
    return out;
  }

  get #fold(): boolean {
    return this.#folds.at(-1)!;
  }

  #next(): string {
    const source = this.#source;
    const char = String.fromCodePoint(source.codePointAt(this.#at)!);
    if (char === "\\") return this.#escape(false);
    if (char === "[") return this.#brackets();
    this.#at += char.length;
    if (char === "(") return this.#group();
    if (char === ")") {
      if (this.#folds.length > 1) this.#folds.pop();
      return char;
    }
    if (/[?*+}]/.test(char) && source[this.#at] === "+") throw unsupported("a possessive repetition in", source);
    if (char === "]" || (char === "{" && !/^\{\d*,?\d*\}/.test(source.slice(this.#at - 1)))) return `\\${char}`;
    if (char === "}" && !/\{\d+(,\d*)?$|\{,\d+$/.test(source.slice(0, this.#at - 1))) return "\\}";
    return this.#letter(char);
  }

  #group(): string {
    const rest = this.#source.slice(this.#at);
    const [flags, name] = /^\?(i?)(:)/.exec(rest)?.slice(1) ?? [];
    if (name !== undefined) {
      this.#at += flags!.length + 2;
      this.#folds.push(this.#fold || flags === "i");
      return "(?:";
    }
    const [look] = /^\?<?[=!]/.exec(rest) ?? [];
    if (look !== undefined) this.#at += look.length;
    else if (rest.startsWith("?")) {
      const alone = /^\?i\)/.exec(rest);
      if (alone === null) throw unsupported("a group of the pattern", this.#source);
      this.#at += alone[0].length;
      this.#folds[this.#folds.length - 1] = true;
      return "";
    }
    this.#folds.push(this.#fold);
    return look === undefined ? "(?:" : `(${look}`;
  }

  #letter(char: string): string {
    if (!this.#fold || !/\p{L}/u.test(char)) return char;
    const [lower, upper] = [char.toLowerCase(), char.toUpperCase()];
    return `[${lower}${[...upper].length === 1 ? upper : ""}${folded[lower] ?? ""}]`;
  }

  /** @param bracketed inside of brackets */
  #escape(bracketed: boolean): string {
    const letter = this.#source[this.#at + 1];
    if (letter === undefined) throw unsupported("the pattern", this.#source);
    this.#at += 2;
    if (letter === "p" || letter === "P") return this.#property(letter);
    const lower = letter.toLowerCase();
    const meant = inside[lower];
    if (meant !== undefined) {
      if (letter === lower) return bracketed ? meant : `[${meant}]`;
      if (!bracketed) return `[^${meant}]`;
      if (lower === "s" || lower === "d") return `\\P${meant.slice(2)}`;
      throw unsupported("a class of the pattern", this.#source);
    }
    if (/[nrtfv0]/.test(letter)) return `\\${letter}`;
    if (letter === "A") return "^";
    if (letter === "z" || letter === "Z") return "$";
    if (letter === "x" || letter === "u") return `\\${letter}`;
    if (/[a-zA-Z1-9]/.test(letter)) throw unsupported("an escape of the pattern", this.#source);
    return /[$()*+.?[\\\]^{|}/]/.test(letter) || (bracketed && letter === "-") ? `\\${letter}` : this.#letter(letter);
  }

  #property(letter: "p" | "P"): string {
    const [whole, negated, name] = /^\{(\^?)([A-Za-z_]+)\}/.exec(this.#source.slice(this.#at)) ?? [];
    if (name === undefined) throw unsupported("the pattern", this.#source);
    this.#at += whole!.length;
    const not = (letter === "P") !== (negated === "^");
    const general = /^[A-Z][a-z]?$/.test(name) || name === "White_Space" || name === "Alphabetic";
    return `\\${not ? "P" : "p"}{${general ? name : `Script=${name}`}}`;
  }

  #brackets(): string {
    const source = this.#source;
    let out = "[";
    this.#at++;
    if (source[this.#at] === "^") {
      out += "^";
      this.#at++;
    }
    for (let first = true; ; first = false) {
      const char = source[this.#at];
      if (char === undefined) throw unsupported("the pattern", source);
      if (char === "]" && !first) break;
      if (char === "\\") {
        out += this.#escape(true);
        continue;
      }
      if (source.startsWith("&&", this.#at) || source.startsWith("[:", this.#at))
        throw unsupported("a class of the pattern", source);
      const whole = String.fromCodePoint(source.codePointAt(this.#at)!);
      this.#at += whole.length;
      if (this.#fold && /\p{L}/u.test(whole)) out += whole.toLowerCase() + whole.toUpperCase();
      else out += /[[\]^]/.test(whole) ? `\\${whole}` : whole;
    }
    this.#at++;
    return `${out}]`;
  }
}

/** A pattern of a step: a text, or a regular expression.  @throws TOKENIZER_UNSUPPORTED */
export function patternOf(value: unknown): RegExp {
  const pattern = (value ?? {}) as { readonly String?: unknown; readonly Regex?: unknown };
  if (typeof pattern.Regex === "string") return translated(pattern.Regex);
  const text = typeof value === "string" ? value : pattern.String;
  if (typeof text !== "string") throw unsupported("the pattern", value);
  return new RegExp(text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "gu");
}
