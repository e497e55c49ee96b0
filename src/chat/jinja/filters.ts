/** Filters over lists, mappings and numbers, and the table of all filters of Jinja2 3.1. */
import { getItem, onlyAttribute } from "./access.js";
import { match, wantInt, wantNumber, wantStr } from "./arguments.js";
import { equal, ordered, sortValues } from "./compare.js";
import { TemplateFault, typeError } from "./errors.js";
import type { Filter } from "./filter.js";
import { textFilters } from "./filters-text.js";
import { step, walk } from "./limits.js";
import { roundFloat } from "./numbers.js";
import { add, multiply } from "./operators.js";
import { str } from "./repr.js";
import { lower } from "./strings.js";
import { isStr, plain, StrBuilder, sliceStr } from "./text.js";
import {
  Dict,
  Float,
  Generator,
  isNumber,
  iterate,
  keyOf,
  List,
  lengthOf,
  listOf,
  numeric,
  orElse,
  Tuple,
  truthy,
  typeName,
  Undefined,
  type Value,
} from "./values.js";

export function attributeGetter(attribute: Value, or?: Value): (item: Value) => Value {
  const path: Value[] = isStr(attribute)
    ? plain(attribute)
        .split(".")
        .map((name) => (/^\d+$/.test(name) ? Number(name) : name))
    : [attribute];
  return (item) => {
    let value = item;
    for (const name of path) {
      value = getItem(value, name);
      if (or !== undefined && value instanceof Undefined) value = or;
    }
    return value;
  };
}

/** Keys of comparison: text without regard to case unless it matters. */
const folded =
  (caseSensitive: boolean) =>
  (value: Value): Value =>
    isStr(value) && !caseSensitive ? lower(value) : value;

function sortKey(attribute: Value, caseSensitive: boolean): (item: Value) => Value {
  const fold = folded(caseSensitive);
  if (attribute === null) return fold;
  const names = isStr(attribute) ? plain(attribute).split(",") : [attribute];
  const getters = names.map((name) => attributeGetter(name));
  return (item) => {
    const keys = getters.map((get) => fold(get(item)));
    return keys.length === 1 ? keys[0]! : new List(keys);
  };
}

const sort: Filter = (value, args) => {
  const names = ["reverse", "case_sensitive", "attribute"];
  const [reverse = false, sensitive = false, attribute = null] = match("sort", args, names, 0);
  return new List(sortValues(listOf(value), sortKey(attribute, truthy(sensitive)), truthy(reverse)));
};

const dictsort: Filter = (value, args) => {
  const names = ["case_sensitive", "by", "reverse"];
  const [sensitive = false, by = "key", reverse = false] = match("dictsort", args, names, 0);
  if (!(value instanceof Dict)) throw typeError("dictsort: a mapping is required");
  const at = plain(wantStr(by, "dictsort"));
  if (at !== "key" && at !== "value") throw typeError("You can only sort by either 'key' or 'value'");
  const fold = folded(truthy(sensitive));
  const pairs = [...value.entries()].map(([key, item]) => new Tuple([key, item]));
  return new List(sortValues(pairs, (pair) => fold((pair as Tuple).items[at === "key" ? 0 : 1]!), truthy(reverse)));
};

const extreme =
  (name: string, order: "<" | ">"): Filter =>
  (value, args) => {
    const [sensitive = false, attribute = null] = match(name, args, ["case_sensitive", "attribute"], 0);
    const key = sortKey(attribute, truthy(sensitive));
    let best: { item: Value; key: Value } | undefined;
    for (const item of iterate(value)) {
      const next = { item, key: key(item) };
      if (best === undefined || ordered(next.key, best.key, order)) best = next;
    }
    return best === undefined ? new Undefined("No aggregated item, sequence was empty.") : best.item;
  };

const unique: Filter = (value, args) => {
  const [sensitive = false, attribute = null] = match("unique", args, ["case_sensitive", "attribute"], 0);
  const key = sortKey(attribute, truthy(sensitive));
  const seen = new Set<unknown>();
  const out = listOf(value).filter((item) => {
    const id = keyOf(key(item));
    return !seen.has(id) && seen.add(id) !== undefined;
  });
  return new Generator("unique", out);
};

const groupby: Filter = (value, args) => {
  const names = ["attribute", "default", "case_sensitive"];
  const [attribute, or, sensitive = false] = match("groupby", args, names, 1);
  const read = attributeGetter(attribute!, or);
  const fold = folded(truthy(sensitive));
  const sorted = sortValues(listOf(value), (item) => fold(read(item)), false);
  const groups: Value[] = [];
  for (let i = 0; i < sorted.length; ) {
    const key = fold(read(sorted[i]!));
    const items: Value[] = [];
    while (i < sorted.length && equal(fold(read(sorted[i]!)), key)) items.push(sorted[i++]!);
    groups.push(new Tuple([read(items[0]!), new List(items)], ["grouper", "list"]));
  }
  return new List(groups);
};

const batch: Filter = (value, args) => {
  const [count, fill = null] = match("batch", args, ["linecount", "fill_with"], 1);
  const size = wantInt(count!, "batch");
  const out: Value[] = [];
  const items = listOf(value);
  for (let i = 0; i < items.length; i += Math.max(1, size)) {
    const row = items.slice(i, i + Math.max(1, size));
    if (fill !== null) while (row.length < size) row.push(fill);
    out.push(new List(row));
  }
  return new Generator("do_batch", out);
};

const slice: Filter = (value, args) => {
  const [count, fill = null] = match("slice", args, ["slices", "fill_with"], 1);
  const slices = wantInt(count!, "slice");
  const items = listOf(value);
  if (slices <= 0) throw new TemplateFault("ZeroDivisionError", "integer division or modulo by zero");
  const each = Math.floor(items.length / slices);
  const extra = items.length % slices;
  const out: Value[] = [];
  for (let i = 0, at = 0; i < slices; i++) {
    step();
    const row = items.slice(at, at + each + (i < extra ? 1 : 0));
    at += row.length;
    if (fill !== null && i >= extra && extra > 0) row.push(fill);
    out.push(new List(row));
  }
  return new Generator("do_slice", out);
};

/** `map`: an attribute of each item, or a filter applied to it. */
const map: Filter = (value, args, context) => {
  let each: (item: Value) => Value;
  if (args.positional.length === 0 && args.named.has("attribute")) {
    const [attribute, or] = match("map", args, ["attribute", "default"], 1);
    each = context.getter(attribute!, or);
  } else {
    const [name, ...rest] = args.positional;
    if (name === undefined) throw typeError("map requires a filter argument");
    const filter = plain(wantStr(name, "map"));
    const inner = { positional: rest, named: args.named };
    each = (item) => context.filter(filter, item, inner);
  }
  return lazily("sync_do_map", value, function* (items) {
    for (const item of items) yield each(item);
  });
};

/** Evaluated item by item, when they are asked for. */
function lazily(what: string, value: Value, work: (items: Iterable<Value>) => Iterable<Value>): Generator {
  // As Jinja: what counts as false has no items, whether it can be iterated over or not.
  const items = truthy(value) ? iterate(value) : [];
  const counted = function* (): IterableIterator<Value> {
    for (const item of items) {
      step();
      yield item;
    }
  };
  return new Generator(what, work(counted()));
}

const selecting =
  (name: string, keep: boolean, byAttribute: boolean): Filter =>
  (value, args, context) => {
    const rest = [...args.positional];
    let read = (item: Value): Value => item;
    if (byAttribute) {
      const attribute = rest.shift();
      if (attribute === undefined) throw typeError(`${name} requires an attribute`);
      read = context.getter(attribute);
    }
    const test = rest.shift();
    const inner = { positional: rest, named: args.named };
    const holds = test === undefined ? truthy : (item: Value) => context.test(plain(wantStr(test, name)), item, inner);
    return lazily(name, value, function* (items) {
      for (const item of items) if (holds(read(item)) === keep) yield item;
    });
  };

const sum: Filter = (value, args, context) => {
  const [attribute = null, start = 0] = match("sum", args, ["attribute", "start"], 0);
  const get = attribute === null ? undefined : context.getter(attribute);
  let total: Value = start;
  for (const item of iterate(value)) {
    step();
    const term = get === undefined ? item : get(item);
    if (isStr(total)) throw typeError("sum() can't sum strings [use ''.join(seq) instead]");
    total = add(total, term);
  }
  return total;
};

const round: Filter = (value, args) => {
  const [precision = 0, method = "common"] = match("round", args, ["precision", "method"], 0);
  const places = wantInt(precision, "round");
  const how = plain(wantStr(method, "round"));
  if (how !== "common" && how !== "ceil" && how !== "floor") throw typeError("method must be common, ceil or floor");
  const x = wantNumber(value instanceof Undefined ? failing(value) : value, "round");
  if (how === "common") {
    if (value instanceof Float) return new Float(roundFloat(x, places));
    if (places >= 0) return isNumber(value) ? numeric(value) : x;
    return Math.trunc(roundFloat(x, places));
  }
  return new Float(Math[how](x * 10 ** places) / 10 ** places);
};

function failing(value: Undefined): never {
  throw value.fail();
}

const abs: Filter = (value) => {
  if (value instanceof Undefined) throw value.fail();
  if (!isNumber(value)) throw typeError(`bad operand type for abs(): '${typeName(value)}'`);
  if (value instanceof Float) return new Float(Math.abs(value.value));
  const x = numeric(value);
  return x < 0 ? multiply(x, -1) : x;
};

const length: Filter = (value) => {
  const size = lengthOf(value);
  if (size === undefined) throw typeError(`object of type '${typeName(value)}' has no len()`);
  return size;
};

const reverse: Filter = (value) => {
  if (isStr(value)) {
    const out = new StrBuilder();
    let end = plain(value).length;
    walk(plain(value).length);
    for (const point of Array.from(plain(value)).reverse()) {
      out.add(sliceStr(value, end - point.length, end));
      end -= point.length;
    }
    return out.finish();
  }
  return new Generator("reversed", listOf(value).reverse());
};

const first: Filter = (value) => {
  for (const item of iterate(value)) return item;
  return new Undefined("No first item, sequence was empty.");
};

const last: Filter = (value) => {
  if (value instanceof Generator) throw typeError("'generator' object is not reversible");
  return orElse(listOf(value).at(-1), () => new Undefined("No last item, sequence was empty."));
};

const either: Filter = (value, args) => {
  const [or = "", falsy = false] = match("default", args, ["default_value", "boolean"], 0);
  return value instanceof Undefined || (truthy(falsy) && !truthy(value)) ? or : value;
};

const items: Filter = (value) => {
  if (value instanceof Undefined) return new Generator("do_items", []);
  if (!(value instanceof Dict)) throw typeError("Can only get item pairs from a mapping.");
  return new Generator(
    "do_items",
    Array.from(value.entries(), ([key, item]) => new Tuple([key, item])),
  );
};

const random: Filter = (value, _args, context) => {
  if (value instanceof Dict) throw new TemplateFault("KeyError", "a mapping has no items by number");
  const all = listOf(value);
  if (all.length === 0) return new Undefined("No random item, sequence was empty.");
  return all[Math.floor(context.random() * all.length)]!;
};

const attr: Filter = (value, args) => onlyAttribute(value, plain(str(match("attr", args, ["name"], 1)[0]!)));

export const filters: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ...textFilters,
  ["abs", abs],
  ["attr", attr],
  ["batch", batch],
  ["count", length],
  ["d", either],
  ["default", either],
  ["dictsort", dictsort],
  ["first", first],
  ["groupby", groupby],
  ["items", items],
  ["last", last],
  ["length", length],
  ["list", (value) => new List(listOf(value))],
  ["map", map],
  ["max", extreme("max", ">")],
  ["min", extreme("min", "<")],
  ["random", random],
  ["reject", selecting("reject", false, false)],
  ["rejectattr", selecting("rejectattr", false, true)],
  ["reverse", reverse],
  ["round", round],
  ["select", selecting("select", true, false)],
  ["selectattr", selecting("selectattr", true, true)],
  ["slice", slice],
  ["sort", sort],
  ["sum", sum],
  ["unique", unique],
]);
