/** Reads the values of two languages that are not JSON, Python's literals and those of Gemma 4, as JSON text. */
import { type Input, isSpace, type Reading } from "./input.js";

const mostDepth = 64;
const mostNumberLength = 400;
const number = /^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/;

/** @returns undefined when there is no such value here, or it is not whole */
export function* pythonValue(input: Input, depth = 0): Reading<string | undefined> {
  if (depth > mostDepth) return undefined;
  yield* input.skipSpace();
  const c = yield* input.peek();
  if (c === "'" || c === '"') return yield* pythonString(input);
  if (c === "[" || c === "(") {
    const close = c === "[" ? "]" : ")";
    return yield* items(input, close, (at) => pythonValue(at, depth + 1));
  }
  if (c === "{") return yield* members(input, pythonKey, (at) => pythonValue(at, depth + 1));
  const word = yield* bareWord(input, /[-+.\w]/);
  const known: Record<string, string> = {
    True: "true",
    False: "false",
    None: "null",
    true: "true",
    false: "false",
    null: "null",
  };
  return known[word] ?? numberText(word.replaceAll("_", ""));
}

function* pythonKey(input: Input): Reading<string | undefined> {
  const key = yield* pythonValue(input, mostDepth - 1);
  return key === undefined || key.startsWith('"') ? key : JSON.stringify(key);
}

function* pythonString(input: Input): Reading<string | undefined> {
  const quote = yield* input.peek();
  const triple = (yield* input.peek(1)) === quote && (yield* input.peek(2)) === quote;
  const end = triple ? quote.repeat(3) : quote;
  input.at += end.length;
  let text = "";
  for (;;) {
    const c = yield* input.peek();
    if (c === "") return undefined;
    if (c === "\\") {
      text += yield* pythonEscape(input);
      continue;
    }
    if (c === quote && (!triple || ((yield* input.peek(1)) === quote && (yield* input.peek(2)) === quote))) {
      input.at += end.length;
      return JSON.stringify(text);
    }
    text += input.take(1);
  }
}

const simpleEscapes: Readonly<Record<string, string>> = {
  n: "\n",
  t: "\t",
  r: "\r",
  b: "\b",
  f: "\f",
  v: "\v",
  a: "\x07",
  "\\": "\\",
  "'": "'",
  '"': '"',
  "\n": "",
  "0": "\0",
};

function* pythonEscape(input: Input): Reading<string> {
  const kind = yield* input.peek(1);
  if (kind === "") return input.take(1);
  const digits = { x: 2, u: 4, U: 8 }[kind];
  if (digits === undefined) {
    const all = input.take(2);
    return simpleEscapes[kind] ?? all;
  }
  yield* input.peek(1 + digits);
  const all = input.take(2 + digits);
  const code = /^[0-9a-fA-F]+$/.test(all.slice(2)) ? Number.parseInt(all.slice(2), 16) : -1;
  return code >= 0 && code <= 0x10ffff ? String.fromCodePoint(code) : all;
}

/** The mark around a text in Gemma's calls. */
export const gemmaQuote = '<|"|>';

/** @returns undefined when there is no such value here, or it is not whole */
export function* gemmaValue(input: Input, depth = 0): Reading<string | undefined> {
  if (depth > mostDepth) return undefined;
  yield* input.skipSpace();
  const c = yield* input.peek();
  if (c === "{") return yield* members(input, gemmaKey, (at) => gemmaValue(at, depth + 1));
  if (c === "[") return yield* items(input, "]", (at) => gemmaValue(at, depth + 1));
  if (c === '"') return yield* pythonString(input);
  if ((yield* input.matches(gemmaQuote)) >= 0) return yield* gemmaString(input);
  const word = (yield* bareWord(input, /[^,{}[\]<>]/)).trim();
  if (word === "true" || word === "false" || word === "null") return word;
  return word === "" ? undefined : (numberText(word) ?? JSON.stringify(word));
}

function* gemmaString(input: Input): Reading<string | undefined> {
  yield* input.literal(gemmaQuote);
  for (let n = 0; ; n++) {
    if ((yield* input.peek(n)) === "") return undefined;
    if (!(yield* standsAt(input, gemmaQuote, n))) continue;
    const text = input.take(n);
    input.at += gemmaQuote.length;
    return JSON.stringify(text);
  }
}

function* standsAt(input: Input, mark: string, ahead: number): Reading<boolean> {
  for (let i = 0; i < mark.length; i++) if ((yield* input.peek(ahead + i)) !== mark[i]) return false;
  return true;
}

function* gemmaKey(input: Input): Reading<string | undefined> {
  yield* input.skipSpace();
  if ((yield* input.matches(gemmaQuote)) >= 0) return yield* gemmaString(input);
  const word = (yield* bareWord(input, /[^:,{}[\]<>]/)).trim();
  return word === "" ? undefined : JSON.stringify(word);
}

// --- what both have

type ReadValue = (input: Input) => Reading<string | undefined>;

function* items(input: Input, close: string, read: ReadValue): Reading<string | undefined> {
  input.at++;
  const values: string[] = [];
  for (;;) {
    yield* input.skipSpace();
    if ((yield* input.peek()) === close) {
      input.at++;
      return `[${values.join(", ")}]`;
    }
    const value = yield* read(input);
    if (value === undefined) return undefined;
    values.push(value);
    yield* input.skipSpace();
    if ((yield* input.peek()) === ",") input.at++;
    else if ((yield* input.peek()) !== close) return undefined;
  }
}

function* members(input: Input, readKey: ReadValue, read: ReadValue): Reading<string | undefined> {
  input.at++;
  const all: string[] = [];
  for (;;) {
    yield* input.skipSpace();
    if ((yield* input.peek()) === "}") {
      input.at++;
      return `{${all.join(", ")}}`;
    }
    const key = yield* readKey(input);
    yield* input.skipSpace();
    if (key === undefined || (yield* input.peek()) !== ":") return undefined;
    input.at++;
    const value = yield* read(input);
    if (value === undefined) return undefined;
    all.push(`${key}: ${value}`);
    yield* input.skipSpace();
    if ((yield* input.peek()) === ",") input.at++;
    else if ((yield* input.peek()) !== "}") return undefined;
  }
}

function* bareWord(input: Input, allowed: RegExp): Reading<string> {
  let n = 0;
  for (; n < mostNumberLength; n++) {
    const c = yield* input.peek(n);
    if (c === "" || !allowed.test(c) || (isSpace(c) && n === 0)) break;
  }
  return input.take(n);
}

function numberText(word: string): string | undefined {
  if (number.test(word)) return word;
  // Python writes 1. and .5 as well.
  const value = /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(word) ? Number(word) : Number.NaN;
  return Number.isFinite(value) ? String(value) : undefined;
}
