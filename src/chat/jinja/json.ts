/** JSON in both directions: a reader that keeps the order of keys and tells 1 from 1.0, and Python's json.dumps. */
import { HundredweightError } from "../../errors.js";
import { typeError } from "./errors.js";
import { endLimits, enter, leave, scan, step } from "./limits.js";
import { floatRepr } from "./numbers.js";
import { isStr, personStr, plain, type Str, StrBuilder } from "./text.js";
import { Dict, Float, int, isInt, List, Tuple, truthy, typeName, Undefined, type Value } from "./values.js";

/** Deeper JSON is refused: nothing a person sends is. */
const maxDepth = 256;

/**
 * Reads a JSON text as Python's json.loads does; strings are a person's.
 * @throws OPTION_INVALID with the place of the fault
 */
export function readJson(text: string): Value {
  endLimits();
  const reader = new JsonReader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

class JsonReader {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  value(depth: number): Value {
    if (depth > maxDepth) throw this.fault(`is nested deeper than ${maxDepth}`);
    this.space();
    const c = this.text[this.at];
    if (c === "{") return this.object(depth);
    if (c === "[") return this.array(depth);
    if (c === '"') return personStr(this.string());
    for (const [word, value] of words) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  end(): void {
    this.space();
    if (this.at < this.text.length) throw this.fault("goes on after its end");
  }

  private object(depth: number): Dict {
    const dict = new Dict();
    this.at++;
    this.space();
    if (this.take("}")) return dict;
    for (;;) {
      this.space();
      if (this.text[this.at] !== '"') throw this.fault("lacks a key in quotes");
      const key = personStr(this.string());
      this.space();
      if (!this.take(":")) throw this.fault("lacks a colon");
      const value = this.value(depth + 1);
      dict.set(key, value);
      this.space();
      if (this.take("}")) return dict;
      if (!this.take(",")) throw this.fault("lacks a comma or a closing brace");
    }
  }

  private array(depth: number): List {
    const items: Value[] = [];
    this.at++;
    this.space();
    if (this.take("]")) return new List(items);
    for (;;) {
      items.push(this.value(depth + 1));
      this.space();
      if (this.take("]")) return new List(items);
      if (!this.take(",")) throw this.fault("lacks a comma or a closing bracket");
    }
  }

  private string(): string {
    const start = this.at++;
    for (;;) {
      const c = this.text.charCodeAt(this.at);
      if (Number.isNaN(c)) throw this.fault("ends inside a string");
      if (c < 0x20) throw this.fault("has a control character in a string");
      this.at += c === 0x5c ? 2 : 1;
      if (c === 0x22) break;
    }
    try {
      return JSON.parse(this.text.slice(start, this.at)) as string;
    } catch {
      throw this.fault("has a wrong escape in a string");
    }
  }

  private number(): Value {
    const pattern = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
    pattern.lastIndex = this.at;
    const match = pattern.exec(this.text);
    if (match === null) throw this.fault("has no value here");
    this.at += match[0].length;
    if (match[1] !== undefined || match[2] !== undefined) return new Float(Number(match[0]));
    if (match[0].length > 4300) throw this.fault("has a number of more than 4300 digits");
    return match[0].length < 16 ? Number(match[0]) + 0 : int(BigInt(match[0]));
  }

  private space(): void {
    while (this.at < this.text.length && " \t\n\r".includes(this.text[this.at]!)) this.at++;
  }

  private take(c: string): boolean {
    if (this.text[this.at] !== c) return false;
    this.at++;
    return true;
  }

  private fault(what: string): HundredweightError {
    return new HundredweightError("OPTION_INVALID", `the JSON text ${what} (character ${this.at + 1})`);
  }
}

const words: readonly [string, Value][] = [
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", new Float(Number.NaN)],
  ["Infinity", new Float(Number.POSITIVE_INFINITY)],
  ["-Infinity", new Float(Number.NEGATIVE_INFINITY)],
];

export interface DumpOptions {
  readonly ensureAscii: boolean;
  /** Text of one level, or undefined for one line. */
  readonly indent: string | undefined;
  readonly itemSeparator: string;
  readonly keySeparator: string;
  readonly sortKeys: boolean;
}

/** @throws TypeError for what JSON has no form for */
export function dumpJson(value: Value, options: DumpOptions): Str {
  const builder = new StrBuilder();
  dump(value, options, 0, builder);
  return builder.finish();
}

function dump(value: Value, options: DumpOptions, level: number, out: StrBuilder): void {
  step();
  if (isStr(value)) quote(value, options.ensureAscii, out);
  else if (value instanceof Dict) dumpDict(value, options, level, out);
  else if (value instanceof List || value instanceof Tuple) {
    dumpAll(value.items, "[", "]", options, level, out, (item) => dump(item, options, level + 1, out));
  } else out.add(scalar(value));
}

function scalar(value: Value): string {
  if (value === null) return "null";
  if (typeof value === "boolean") return String(value);
  if (isInt(value)) return String(value);
  if (value instanceof Float) return floatText(value.value);
  if (value instanceof Undefined) throw typeError("Object of type Undefined is not JSON serializable");
  throw typeError(`Object of type ${typeName(value)} is not JSON serializable`);
}

function floatText(x: number): string {
  if (Number.isNaN(x)) return "NaN";
  return Number.isFinite(x) ? floatRepr(x) : x > 0 ? "Infinity" : "-Infinity";
}

function dumpDict(dict: Dict, options: DumpOptions, level: number, out: StrBuilder): void {
  let entries = [...dict.entries()].map(([key, value]) => [keyText(key), value] as const);
  if (options.sortKeys) {
    const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
    entries = entries.sort(([a], [b]) => order(plain(a), plain(b)));
  }
  dumpAll(entries, "{", "}", options, level, out, ([key, value]) => {
    quote(key, options.ensureAscii, out);
    out.add(options.keySeparator);
    dump(value, options, level + 1, out);
  });
}

function keyText(key: Value): Str {
  if (isStr(key)) return key;
  if (key === null || typeof key === "boolean" || isInt(key) || key instanceof Float) return scalar(key);
  throw typeError(`keys must be str, int, float, bool or None, not ${typeName(key)}`);
}

function dumpAll<T>(
  items: readonly T[],
  open: string,
  close: string,
  { indent, itemSeparator }: DumpOptions,
  level: number,
  out: StrBuilder,
  each: (item: T) => void,
): void {
  if (items.length === 0) {
    out.add(open + close);
    return;
  }
  enter();
  const newLine = indent === undefined ? "" : `\n${indent.repeat(level + 1)}`;
  out.add(open);
  items.forEach((item, i) => {
    out.add(i === 0 ? newLine : itemSeparator + newLine);
    each(item);
  });
  if (indent !== undefined) out.add(`\n${indent.repeat(level)}`);
  out.add(close);
  leave();
}

const short: Record<string, string> = {
  '"': '\\"',
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\f": "\\f",
  "\b": "\\b",
};

function quote(s: Str, ensureAscii: boolean, out: StrBuilder): void {
  const value = plain(s);
  scan(value.length);
  out.add('"');
  const special = ensureAscii ? /["\\\x00-\x1f]|[^\x00-\x7e]/ : /["\\\x00-\x1f]/;
  if (!special.test(value)) {
    out.add(s);
  } else {
    const inner = new StrBuilder();
    for (let i = 0; i < value.length; i++) {
      step();
      const c = value[i]!;
      inner.addAs(special.test(c) ? (short[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`) : c, s, i);
    }
    out.add(inner.finish());
  }
  out.add('"');
}

/** Arguments of the filter tojson as Hugging Face gives it to templates: no HTML escapes. */
export function dumpOptions(ensureAscii: Value, indent: Value, separators: Value, sortKeys: Value): DumpOptions {
  const lines = indent === null ? undefined : isStr(indent) ? plain(indent) : " ".repeat(spaces(indent));
  let itemSeparator = lines === undefined ? ", " : ",";
  let keySeparator = ": ";
  if (separators instanceof Tuple || separators instanceof List) {
    const [item, key] = separators.items;
    if (separators.items.length !== 2 || !isStr(item!) || !isStr(key!)) throw typeError("separators are two strings");
    itemSeparator = plain(item);
    keySeparator = plain(key);
  }
  return { ensureAscii: truthy(ensureAscii), indent: lines, itemSeparator, keySeparator, sortKeys: truthy(sortKeys) };
}

function spaces(indent: Value): number {
  if (typeof indent === "boolean") return Number(indent);
  if (typeof indent === "number") return Math.min(64, Math.max(0, indent));
  throw typeError(`indent is a number or a string, not ${typeName(indent)}`);
}
