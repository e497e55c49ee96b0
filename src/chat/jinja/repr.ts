/** str() and repr(). */
import { enter, leave, scan, step } from "./limits.js";
import { floatRepr } from "./numbers.js";
import { concat, isStr, plain, type Str, StrBuilder, Text } from "./text.js";
import {
  Callable,
  Dict,
  DictView,
  Float,
  isInt,
  List,
  Namespace,
  Range,
  Tuple,
  Undefined,
  Unsafe,
  type Value,
} from "./values.js";

/** The text that printing shows. */
export function str(value: Value): Str {
  if (isStr(value)) return value;
  if (value instanceof Undefined) {
    if (value instanceof Unsafe) throw value.fail();
    return "";
  }
  return repr(value);
}

export function repr(value: Value): Str {
  step();
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (isInt(value)) return String(value);
  if (value instanceof Float) return floatRepr(value.value);
  if (isStr(value)) return reprStr(value);
  if (value instanceof Undefined) {
    if (value instanceof Unsafe) throw value.fail();
    return "Undefined";
  }
  if (value instanceof Range) return reprRange(value);
  if (value instanceof Callable) return `<${value.kind === "macro" ? "Macro" : value.kind} '${value.name}'>`;
  enter();
  try {
    return reprContainer(value);
  } finally {
    leave();
  }
}

function reprContainer(value: Exclude<Value, null | boolean | number | bigint | Str>): Str {
  if (value instanceof List) return concat(["[", ...separated(value.items), "]"]);
  if (value instanceof Tuple) {
    const { items } = value;
    return concat(["(", ...separated(items), items.length === 1 ? ",)" : ")"]);
  }
  if (value instanceof Dict) return concat(["{", ...fieldsOf(value), "}"]);
  if (value instanceof DictView) return concat([`dict_${value.of}([`, ...separated(value.items()), "])"]);
  if (value instanceof Namespace) return concat(["<Namespace {", ...fieldsOf(value.attributes), "}>"]);
  return "<generator object>";
}

function separated(items: readonly Value[]): Str[] {
  return items.flatMap((item, i) => (i === 0 ? [repr(item)] : [", ", repr(item)]));
}

function fieldsOf(dict: Dict): Str[] {
  const out: Str[] = [];
  for (const [key, value] of dict.entries()) out.push(out.length === 0 ? "" : ", ", repr(key), ": ", repr(value));
  return out;
}

function reprRange({ start, stop, step: stride }: Range): string {
  return stride === 1 ? `range(${start}, ${stop})` : `range(${start}, ${stop}, ${stride})`;
}

/** Printable as Python's str.isprintable has it: separators (but the space), controls and unassigned are not. */
const hidden = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Zl}\p{Zp}\p{Zs}]/u;
const named = new Map([
  ["\n", "\\n"],
  ["\r", "\\r"],
  ["\t", "\\t"],
  ["\\", "\\\\"],
]);

function reprStr(s: Str): Str {
  const value = plain(s);
  scan(value.length);
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  const plainly = !/['"\\]/.test(value) && !/[^\x20-\x7e]/.test(value);
  const prefix = s instanceof Text && s.markup ? "Markup(" : "";
  const body = plainly ? (typeof s === "string" ? s : new Text(value, s.spans, false)) : escaped(s, quote);
  return concat([prefix, quote, body, quote, prefix === "" ? "" : ")"]);
}

function escaped(s: Str, quote: string): Str {
  const builder = new StrBuilder();
  let at = 0;
  for (const point of plain(s)) {
    step();
    builder.addAs(escapePoint(point, quote), s, at);
    at += point.length;
  }
  return builder.finish();
}

function escapePoint(point: string, quote: string): string {
  const short = named.get(point);
  if (short !== undefined) return short;
  if (point === quote) return `\\${point}`;
  const code = point.codePointAt(0)!;
  if (code >= 0x20 && code < 0x7f) return point;
  if (code >= 0x80 && !hidden.test(point)) return point;
  const hex = code.toString(16);
  if (code < 0x100) return `\\x${hex.padStart(2, "0")}`;
  return code < 0x10000 ? `\\u${hex.padStart(4, "0")}` : `\\U${hex.padStart(8, "0")}`;
}
