/**
 * Python's values as templates meet them. `null` is None, booleans are themselves, a JavaScript number or bigint is an
 * int (numbers are always safe integers), `Float` a float, `Str` a str; the rest has a class each.
 */
import { TemplateFault, typeError, undefinedError } from "./errors.js";
import { makeItems, scan, step, walk } from "./limits.js";
import { isStr, plain, type Str, Text } from "./text.js";

/** A Python float; a JavaScript number is an int. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export type Int = number | bigint;

export class List {
  readonly items: Value[];
  constructor(items: Value[]) {
    makeItems(items.length);
    this.items = items;
  }
}

export class Tuple {
  readonly items: readonly Value[];
  /** Names of the items of a named tuple. */
  readonly names: readonly string[] | undefined;
  constructor(items: readonly Value[], names?: readonly string[]) {
    makeItems(items.length);
    this.items = items;
    this.names = names;
  }
}

export class Dict {
  /** By key identity (`keyOf`), in the order of insertion. */
  private readonly entriesByKey = new Map<unknown, [Value, Value]>();

  get size(): number {
    return this.entriesByKey.size;
  }

  get(key: Value): Value | undefined {
    return this.entriesByKey.get(keyOf(key))?.[1];
  }

  has(key: Value): boolean {
    return this.entriesByKey.has(keyOf(key));
  }

  /** An equal key that is there already stays, as in Python. */
  set(key: Value, value: Value): void {
    makeItems(4);
    const id = keyOf(key);
    const entry = this.entriesByKey.get(id);
    if (entry === undefined) this.entriesByKey.set(id, [key, value]);
    else entry[1] = value;
  }

  entries(): IterableIterator<[Value, Value]> {
    return this.entriesByKey.values();
  }

  keys(): Value[] {
    return Array.from(this.entriesByKey.values(), ([key]) => key);
  }

  copy(): Dict {
    const copy = new Dict();
    for (const [key, value] of this.entries()) copy.set(key, value);
    return copy;
  }

  static of(entries: Iterable<readonly [Value, Value]>): Dict {
    const dict = new Dict();
    for (const [key, value] of entries) dict.set(key, value);
    return dict;
  }
}

/** The result of d.keys(), d.values() and d.items(). */
export class DictView {
  readonly dict: Dict;
  readonly of: "keys" | "values" | "items";
  constructor(dict: Dict, of: "keys" | "values" | "items") {
    this.dict = dict;
    this.of = of;
  }

  items(): Value[] {
    if (this.of === "keys") return this.dict.keys();
    return Array.from(this.dict.entries(), ([key, value]) => (this.of === "values" ? value : new Tuple([key, value])));
  }
}

export class Range {
  readonly start: number;
  readonly stop: number;
  readonly step: number;
  readonly length: number;
  constructor(start: number, stop: number, stride: number) {
    this.start = start;
    this.stop = stop;
    this.step = stride;
    this.length = Math.max(0, Math.ceil((stop - start) / stride));
  }

  at(i: number): number {
    return this.start + i * this.step;
  }
}

/** A generator: consumed once. `what` is the name Python prints. */
export class Generator {
  readonly what: string;
  private readonly iterator: Iterator<Value>;
  constructor(what: string, values: Iterable<Value>) {
    this.what = what;
    this.iterator = values[Symbol.iterator]();
  }

  next(): Value | undefined {
    const { done, value } = this.iterator.next();
    return done === true ? undefined : value;
  }

  *[Symbol.iterator](): Generator_ {
    for (let value = this.next(); value !== undefined; value = this.next()) yield value;
  }
}
type Generator_ = IterableIterator<Value>;

/** Jinja's Undefined: prints as nothing, iterates over nothing, and raises when it is used as anything else. */
export class Undefined {
  readonly hint: string;
  constructor(hint: string) {
    this.hint = hint;
  }

  fail(): TemplateFault {
    return undefinedError(this.hint);
  }
}

/** A value that the sandbox refuses: it raises as soon as it is used. */
export class Unsafe extends Undefined {
  override fail(): TemplateFault {
    return new TemplateFault("SecurityError", this.hint);
  }
}

/** namespace(): the one thing whose attributes a template may set. */
export class Namespace {
  readonly attributes: Dict;
  constructor(attributes: Dict) {
    this.attributes = attributes;
  }
}

export interface Arguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

/** Everything that can be called. */
export class Callable {
  readonly name: string;
  readonly call: (args: Arguments) => Value;
  /** Attributes, such as a macro's name or a loop's index. */
  readonly attribute: ((name: string) => Value | undefined) | undefined;
  readonly kind: "function" | "macro" | "loop" | "cycler" | "joiner";

  constructor(
    name: string,
    call: (args: Arguments) => Value,
    kind: Callable["kind"] = "function",
    attribute?: (name: string) => Value | undefined,
  ) {
    this.name = name;
    this.call = call;
    this.kind = kind;
    this.attribute = attribute;
  }
}

export type Value =
  | null
  | boolean
  | Int
  | Float
  | Str
  | List
  | Tuple
  | Dict
  | DictView
  | Range
  | Generator
  | Undefined
  | Namespace
  | Callable;

/** None is a value: `??` would pass over it. */
export const orElse = (value: Value | undefined, or: () => Value): Value => (value === undefined ? or() : value);

export const isInt = (value: Value): value is Int => typeof value === "number" || typeof value === "bigint";
export const isNumber = (value: Value): value is Int | boolean | Float =>
  isInt(value) || typeof value === "boolean" || value instanceof Float;

/** Booleans count as 0 and 1. */
export const numeric = (value: Int | boolean | Float): number | bigint =>
  value instanceof Float ? value.value : typeof value === "boolean" ? Number(value) : value;

/** An int as a number where that is exact. */
export function int(value: bigint): Int {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (isInt(value)) return "int";
  if (value instanceof Float) return "float";
  if (isStr(value)) return value instanceof Text && value.markup ? "Markup" : "str";
  if (value instanceof List) return "list";
  if (value instanceof Tuple) return "tuple";
  if (value instanceof Dict) return "dict";
  if (value instanceof DictView) return `dict_${value.of}`;
  if (value instanceof Range) return "range";
  if (value instanceof Generator) return "generator";
  if (value instanceof Undefined) return "Undefined";
  if (value instanceof Namespace) return "Namespace";
  return value.kind;
}

export function truthy(value: Value): boolean {
  if (value === null || value instanceof Undefined) return false;
  if (typeof value === "boolean") return value;
  // biome-ignore lint/suspicious/noDoubleEquals: 0n and 0 are both zero
  if (isInt(value)) return value != 0;
  if (value instanceof Float) return value.value !== 0;
  if (isStr(value)) return plain(value) !== "";
  if (value instanceof List || value instanceof Tuple) return value.items.length > 0;
  if (value instanceof Dict) return value.size > 0;
  if (value instanceof DictView) return value.dict.size > 0;
  if (value instanceof Range) return value.length > 0;
  return true;
}

/** The number of items, or undefined where Python has no len(). */
export function lengthOf(value: Value): number | undefined {
  if (value instanceof Undefined) {
    if (value instanceof Unsafe) throw value.fail();
    return 0;
  }
  if (isStr(value)) return pointCount(plain(value));
  if (value instanceof List || value instanceof Tuple) return value.items.length;
  if (value instanceof Dict) return value.size;
  if (value instanceof DictView) return value.dict.size;
  if (value instanceof Range) return value.length;
  if (value instanceof Callable && value.kind === "loop") return value.attribute?.("length") as number;
  return undefined;
}

export function pointCount(s: string): number {
  scan(s.length);
  if (!/[\ud800-\udfff]/.test(s)) return s.length;
  walk(s.length);
  let count = 0;
  for (const _ of s) count++;
  return count;
}

/** @throws TypeError for what cannot be iterated over */
export function iterate(value: Value): Iterable<Value> {
  if (value instanceof List || value instanceof Tuple) return value.items;
  if (value instanceof Dict) return value.keys();
  if (value instanceof DictView) return value.items();
  if (isStr(value)) return pointsOf(value);
  if (value instanceof Range) return rangeItems(value);
  if (value instanceof Generator) return value;
  if (value instanceof Undefined) {
    if (value instanceof Unsafe) throw value.fail();
    return [];
  }
  throw typeError(`'${typeName(value)}' object is not iterable`);
}

export const isIterable = (value: Value): boolean =>
  value instanceof List ||
  value instanceof Tuple ||
  value instanceof Dict ||
  value instanceof DictView ||
  value instanceof Range ||
  value instanceof Generator ||
  value instanceof Undefined ||
  isStr(value);

/** All items, counted against the limits. */
export function listOf(value: Value): Value[] {
  const out: Value[] = [];
  for (const item of iterate(value)) {
    step();
    out.push(item);
  }
  return out;
}

function* pointsOf(s: Str): IterableIterator<Value> {
  if (typeof s === "string") {
    yield* s;
    return;
  }
  let at = 0;
  let span = 0;
  for (const point of s.value) {
    while (span < s.spans.length && s.spans[span + 1]! <= at) span += 2;
    const persons = span < s.spans.length && s.spans[span]! <= at;
    yield persons ? new Text(point, [0, point.length], false) : point;
    at += point.length;
  }
}

function* rangeItems(range: Range): IterableIterator<Value> {
  for (let i = 0; i < range.length; i++) yield range.at(i);
}

/** Leads the identity of a tuple; a string that begins with it gets another one in front. */
const mark = "\ud800";

/**
 * The identity of a key: equal numbers of all types are one key, and so are equal tuples.
 * @throws TypeError for values that have no hash
 */
export function keyOf(value: Value): unknown {
  if (isStr(value)) {
    const text = plain(value);
    scan(text.length);
    return text.startsWith(mark) ? `${mark}s${text}` : text;
  }
  if (typeof value === "boolean") return Number(value);
  if (value instanceof Float) return Number.isNaN(value.value) ? value : value.value;
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  if (value instanceof Tuple) {
    const parts = value.items.map((item) => {
      const key = keyOf(item);
      if (key === null) return "n";
      if (typeof key === "number" || typeof key === "bigint") return `#${key}`;
      if (typeof key === "string") return `s${key.length}:${key}`;
      throw typeError("unhashable type in a tuple");
    });
    return `${mark}t${parts.join(",")}`;
  }
  if (value instanceof Undefined) {
    if (value instanceof Unsafe) throw value.fail();
    return Undefined;
  }
  if (value instanceof List || value instanceof Dict || value instanceof DictView)
    throw typeError(`unhashable type: '${typeName(value)}'`);
  return value;
}
