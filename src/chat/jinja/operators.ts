/** Binary and unary operators over all values. */
import { typeError } from "./errors.js";
import { escapeStr } from "./escape.js";
import { percentFormat } from "./format.js";
import { makeItems } from "./limits.js";
import { calculate, type NumberOperator } from "./numbers.js";
import { concat, isMarkup, isStr, repeatStr, type Str } from "./text.js";
import { Float, isInt, isNumber, List, numeric, Tuple, typeName, Undefined, type Value } from "./values.js";

export function add(a: Value, b: Value): Value {
  if (isStr(a) && isStr(b)) return addStrs(a, b);
  if (a instanceof List && b instanceof List) return new List(joined(a.items, b.items));
  if (a instanceof Tuple && b instanceof Tuple) return new Tuple(joined(a.items, b.items));
  if (a instanceof Undefined) throw a.fail();
  if (b instanceof Undefined) throw b.fail();
  if (isStr(a)) throw typeError(`can only concatenate str (not "${typeName(b)}") to str`);
  if (a instanceof List) throw typeError(`can only concatenate list (not "${typeName(b)}") to list`);
  if (a instanceof Tuple) throw typeError(`can only concatenate tuple (not "${typeName(b)}") to tuple`);
  return calculate("+", a, b);
}

/** Counted before it is made. */
function joined(a: readonly Value[], b: readonly Value[]): Value[] {
  makeItems(a.length + b.length);
  return [...a, ...b];
}

/** Text that joins escaped text is escaped. */
function addStrs(a: Str, b: Str): Str {
  const markup = isMarkup(a) || isMarkup(b);
  return markup ? concat([escapeStr(a), escapeStr(b)], true) : concat([a, b]);
}

export function multiply(a: Value, b: Value): Value {
  const [sequence, count] = isRepeatable(a) ? [a, b] : [b, a];
  if (!isRepeatable(sequence)) return calculate("*", a, b);
  if (count instanceof Undefined) throw count.fail();
  if (!isInt(count) && typeof count !== "boolean")
    throw typeError(`can't multiply sequence by non-int of type '${typeName(count)}'`);
  if (isStr(sequence)) return repeatStr(sequence, Number(count));
  // Nothing, however often, is nothing: the loop below would not end.
  const times = sequence.items.length === 0 ? 0 : Math.max(0, Number(count));
  makeItems(sequence.items.length * times);
  const items: Value[] = [];
  for (let i = 0; i < times; i++) items.push(...sequence.items);
  return sequence instanceof List ? new List(items) : new Tuple(items);
}

const isRepeatable = (value: Value): value is Str | List | Tuple =>
  isStr(value) || value instanceof List || value instanceof Tuple;

export function binary(operator: NumberOperator, a: Value, b: Value): Value {
  if (operator === "+") return add(a, b);
  if (operator === "*") return multiply(a, b);
  if (operator === "%" && isStr(a)) return percentFormat(a, b);
  return calculate(operator, a, b);
}

export function negate(value: Value, sign: "+" | "-"): Value {
  if (value instanceof Undefined) throw value.fail();
  if (!isNumber(value)) throw typeError(`bad operand type for unary ${sign}: '${typeName(value)}'`);
  if (value instanceof Float) return sign === "-" ? new Float(-value.value) : value;
  const x = numeric(value);
  if (sign === "+") return x;
  // Zero has one sign among ints.
  return typeof x === "bigint" ? -x : x === 0 ? 0 : -x;
}
