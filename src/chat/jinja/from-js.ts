/** JavaScript values as a template sees them. */
import { TemplateFault } from "./errors.js";
import { endLimits } from "./limits.js";
import { personStr } from "./text.js";
import { Callable, Dict, Float, int, List, Tuple, type Value } from "./values.js";

const maxDepth = 256;

/** Numbers that are whole count as ints: JavaScript does not tell 1.0 from 1. */
export function fromJs(value: unknown, author: "person" | "template"): Value {
  endLimits();
  return convert(value, author, 0);
}

function convert(value: unknown, author: "person" | "template", depth: number): Value {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return author === "person" ? personStr(value) : value;
  if (typeof value === "boolean") return value;
  if (typeof value === "bigint") return int(value);
  if (typeof value === "number") return Number.isSafeInteger(value) ? value + 0 : new Float(value);
  if (value instanceof Float || value instanceof List || value instanceof Tuple || value instanceof Dict) return value;
  if (value instanceof Callable) return value;
  if (depth > maxDepth) throw new TemplateFault("LimitError", `a value is nested deeper than ${maxDepth}`);
  if (Array.isArray(value)) return new List(value.map((item) => convert(item, author, depth + 1)));
  const dict = new Dict();
  for (const [key, item] of Object.entries(value as object)) {
    if (item !== undefined) dict.set(convert(key, author, depth), convert(item, author, depth + 1));
  }
  return dict;
}
