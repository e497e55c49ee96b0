/** Equality, order and membership as Python has them. */
import { typeError } from "./errors.js";
import { enter, leave, scan, step, walk } from "./limits.js";
import { isStr, plain } from "./text.js";
import {
  Dict,
  DictView,
  isNumber,
  iterate,
  List,
  listOf,
  Namespace,
  numeric,
  Range,
  Tuple,
  typeName,
  Undefined,
  Unsafe,
  type Value,
} from "./values.js";

export function equal(a: Value, b: Value): boolean {
  step();
  // Strings are looked through, which is counted below.
  if (typeof a !== "string" && a === b) return true;
  // biome-ignore lint/suspicious/noDoubleEquals: an int of either kind equals a float of the same value
  if (isNumber(a)) return isNumber(b) && numeric(a) == numeric(b);
  if (isStr(a)) return isStr(b) && sameText(plain(a), plain(b));
  if (a instanceof List) return b instanceof List && sameItems(a.items, b.items);
  if (a instanceof Tuple) return b instanceof Tuple && sameItems(a.items, b.items);
  if (a instanceof Dict) return b instanceof Dict && sameEntries(a, b);
  if (a instanceof Undefined) {
    if (a instanceof Unsafe) throw a.fail();
    return b instanceof Undefined && !(b instanceof Unsafe);
  }
  if (a instanceof Range) return b instanceof Range && sameItems([...iterate(a)], [...iterate(b)]);
  if (a instanceof DictView) return b instanceof DictView && a.of !== "values" && sameItems(a.items(), b.items());
  if (a instanceof Namespace) return false;
  return false;
}

function sameText(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  scan(a.length);
  return a === b;
}

function sameItems(a: readonly Value[], b: readonly Value[]): boolean {
  if (a.length !== b.length) return false;
  return nested(() => a.every((item, i) => equal(item, b[i]!)));
}

function sameEntries(a: Dict, b: Dict): boolean {
  if (a.size !== b.size) return false;
  return nested(() => {
    for (const [key, value] of a.entries()) {
      const other = b.get(key);
      if (other === undefined || !equal(value, other)) return false;
    }
    return true;
  });
}

function nested<T>(work: () => T): T {
  enter();
  try {
    return work();
  } finally {
    leave();
  }
}

export type Order = "<" | "<=" | ">" | ">=";

/** @throws TypeError for types that have no order, UndefinedError */
export function ordered(a: Value, b: Value, order: Order): boolean {
  step();
  if (a instanceof Undefined) throw a.fail();
  if (b instanceof Undefined) throw b.fail();
  if (isNumber(a) && isNumber(b)) {
    const x = numeric(a);
    const y = numeric(b);
    return order === "<" ? x < y : order === "<=" ? x <= y : order === ">" ? x > y : x >= y;
  }
  if (isStr(a) && isStr(b)) return holds(comparePoints(plain(a), plain(b)), order);
  const items = (v: Value) => (v instanceof List || v instanceof Tuple ? v.items : undefined);
  const x = items(a);
  const y = items(b);
  if (x !== undefined && y !== undefined && a instanceof List === b instanceof List) {
    for (let i = 0; i < Math.min(x.length, y.length); i++) {
      if (!equal(x[i]!, y[i]!)) return nested(() => ordered(x[i]!, y[i]!, order));
    }
    return holds(x.length - y.length, order);
  }
  throw typeError(`'${order}' not supported between instances of '${typeName(a)}' and '${typeName(b)}'`);
}

const holds = (sign: number, order: Order): boolean =>
  order === "<" ? sign < 0 : order === "<=" ? sign <= 0 : order === ">" ? sign > 0 : sign >= 0;

/** Below, at or above zero, by code points: surrogates stand above the rest of the basic plane. */
export function comparePoints(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  walk(length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    const lift = (unit: number): number => (unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit);
    return lift(x) - lift(y);
  }
  return a.length - b.length;
}

/** Stable, ascending; `key` is applied once to each item. */
export function sortValues(values: readonly Value[], key: (item: Value) => Value, reverse: boolean): Value[] {
  const keyed = values.map((item) => ({ item, key: key(item) }));
  const before = (a: { key: Value }, b: { key: Value }): number =>
    ordered(a.key, b.key, "<") ? -1 : ordered(b.key, a.key, "<") ? 1 : 0;
  // As Python: a reversed sort keeps the order of equal items.
  keyed.sort(reverse ? (a, b) => before(b, a) : before);
  return keyed.map(({ item }) => item);
}

/** `item in container`.  @throws TypeError */
export function contains(container: Value, item: Value): boolean {
  if (isStr(container)) {
    if (isStr(item)) {
      scan(plain(container).length);
      return plain(container).includes(plain(item));
    }
    if (item instanceof Undefined) throw item.fail();
    throw typeError(`'in <string>' requires string as left operand, not ${typeName(item)}`);
  }
  if (container instanceof Dict) return container.has(item);
  if (container instanceof DictView && container.of === "keys") return container.dict.has(item);
  if (container instanceof Namespace) throw typeError("argument of type 'Namespace' is not iterable");
  return listOf(container).some((other) => equal(item, other));
}
