/** A Lark grammar cut into its tokens. */
import { HundredweightError } from "../../errors.js";

export interface LarkToken {
  readonly kind:
    | "name"
    | "number"
    | "string"
    | "pattern"
    | "directive"
    | "colon"
    | "bar"
    | "star"
    | "plus"
    | "question"
    | "tilde"
    | "dot"
    | "dots"
    | "arrow"
    | "open"
    | "close"
    | "brace"
    | "newline"
    | "other"
    | "end";
  /** A string's meaning, or what a pattern has between its slashes. */
  readonly text: string;
  readonly flags: string;
  readonly line: number;
}

const mostLength = 1 << 20;

const forms: readonly (readonly [kind: LarkToken["kind"] | "skip", form: RegExp])[] = [
  ["skip", /[ \t\r\f]+|(?:\/\/|#)[^\n]*|\\\n/y],
  ["newline", /\n/y],
  ["directive", /%[a-z]+/y],
  ["name", /[?!]{0,2}[_\p{L}](?:[\w\p{L}]|-(?!>))*/uy],
  ["string", /"(?:[^"\\\n]|\\.)*"i?/y],
  ["pattern", /\/(?!\/)(?:[^/\\\n]|\\.)+\/[imslux]*/y],
  ["dots", /\.\./y],
  ["dot", /\./y],
  ["arrow", /->/y],
  ["number", /\d+/y],
  ["brace", /\{\s*\d*\s*,?\s*\d*\s*\}/y],
  ["colon", /:/y],
  ["bar", /\|/y],
  ["star", /\*/y],
  ["plus", /\+/y],
  ["question", /\?/y],
  ["tilde", /~/y],
  ["open", /[([]/y],
  ["close", /[)\]]/y],
  ["other", /./suy],
];

/** @throws OPTION_INVALID for a string that is none */
export function larkTokens(source: string): LarkToken[] {
  if (source.length > mostLength) {
    throw new HundredweightError("OPTION_INVALID", `lark grammar: longer than ${mostLength} characters`);
  }
  const out: LarkToken[] = [];
  let line = 1;
  for (let at = 0; at < source.length; ) {
    for (const [kind, form] of forms) {
      form.lastIndex = at;
      const found = form.exec(source)?.[0];
      if (found === undefined) continue;
      at += found.length;
      if (kind !== "skip") out.push(tokenOf(kind, found, line));
      line += found.split("\n").length - 1;
      break;
    }
  }
  return [...out, { kind: "end", text: "", flags: "", line }];
}

function tokenOf(kind: LarkToken["kind"], found: string, line: number): LarkToken {
  if (kind === "brace") return { kind, text: found.replace(/\s/g, ""), flags: "", line };
  if (kind === "pattern") {
    const end = found.lastIndexOf("/");
    return { kind, text: found.slice(1, end).replaceAll("\\/", "/"), flags: found.slice(end + 1), line };
  }
  if (kind !== "string") return { kind, text: found, flags: "", line };
  const end = found.lastIndexOf('"');
  return { kind, text: unescaped(found.slice(1, end), line), flags: found.slice(end + 1), line };
}

function unescaped(text: string, line: number): string {
  const controls: Readonly<Record<string, string>> = {
    n: "\n",
    r: "\r",
    t: "\t",
    f: "\f",
    v: "\v",
    b: "\b",
    "0": "\0",
  };
  return text.replace(/\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)/gs, (_, code: string) => {
    if (code.length === 1) {
      if (/[xuU]/.test(code)) {
        throw new HundredweightError("OPTION_INVALID", `lark grammar, line ${line}: \\${code} is no escape`);
      }
      return controls[code] ?? code;
    }
    const point = Number.parseInt(code.slice(1), 16);
    if (point > 0x10ffff) {
      throw new HundredweightError("OPTION_INVALID", `lark grammar, line ${line}: \\${code} names no character`);
    }
    return String.fromCodePoint(point);
  });
}
