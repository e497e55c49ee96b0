/** The methods of str. Positions are code points; every result keeps the origin of its characters. */
import { match, optionalInt, wantInt, wantStr } from "./arguments.js";
import { typeError, valueError } from "./errors.js";
import { make, scan, step, walk } from "./limits.js";
import { clampRange, part, pointOf, unitOf } from "./points.js";
import { concat, isStr, mapPoints, mapWhole, plain, repeatStr, type Str, StrBuilder, sliceStr } from "./text.js";
import { type Arguments, Dict, List, listOf, pointCount, Tuple, typeName, type Value } from "./values.js";

/** White space as Python's str.isspace has it. */
const space = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;

export const lower = (s: Str): Str => mapWhole(s, plain(s).toLowerCase(), (c) => c.toLowerCase());
export const upper = (s: Str): Str => mapWhole(s, plain(s).toUpperCase(), (c) => c.toUpperCase());

const titleCase = (c: string): string => {
  const up = c.toUpperCase();
  return up.length > c.length ? up[0]! + up.slice(1).toLowerCase() : up;
};

export function capitalize(s: Str): Str {
  const value = plain(s);
  const first = String.fromCodePoint(value.codePointAt(0) ?? 0).length;
  return value === "" ? s : concat([mapPoints(sliceStr(s, 0, first), titleCase), lower(sliceStr(s, first))]);
}

/** As str.title(): what follows a letter is lowered, everything else raised. */
export function title(s: Str): Str {
  let afterLetter = false;
  return mapPoints(s, (c) => {
    const out = afterLetter ? c.toLowerCase() : titleCase(c);
    afterLetter = /\p{L}/u.test(c) && c.toLowerCase() !== c.toUpperCase();
    return out;
  });
}

/** @param characters those to strip; undefined = white space */
export function strip(s: Str, characters: string | undefined, ends: "both" | "left" | "right"): Str {
  const value = plain(s);
  const set = characters === undefined ? undefined : new Set(characters);
  const strips = (c: string): boolean => (set === undefined ? space.test(c) : set.has(c));
  let from = 0;
  let to = value.length;
  if (ends !== "right") {
    while (from < to) {
      const c = String.fromCodePoint(value.codePointAt(from)!);
      if (!strips(c)) break;
      from += c.length;
    }
  }
  if (ends !== "left") {
    while (to > from) {
      const low = value.charCodeAt(to - 1);
      const size = low >= 0xdc00 && low <= 0xdfff && to - 2 >= from && value.codePointAt(to - 2)! > 0xffff ? 2 : 1;
      if (!strips(value.slice(to - size, to))) break;
      to -= size;
    }
  }
  step(1 + ((value.length - (to - from)) >> 3));
  return sliceStr(s, from, to);
}

export function replaceAll(s: Str, old: string, by: Str, count: number): Str {
  const value = plain(s);
  scan(value.length);
  const out = new StrBuilder();
  let at = 0;
  let left = count < 0 ? Number.POSITIVE_INFINITY : count;
  if (old === "") {
    // Between all code points.
    const points = Array.from(value);
    let unit = 0;
    for (let i = 0; i <= points.length && left > 0; i++, left--) {
      step();
      out.add(by);
      const size = points[i]?.length ?? 0;
      out.add(sliceStr(s, unit, unit + size));
      unit += size;
    }
    out.add(sliceStr(s, unit));
    return made(out);
  }
  if (typeof s === "string" && typeof by === "string" && count < 0) return replacePlain(s, old, by);
  for (let found = value.indexOf(old); found >= 0 && left > 0; found = value.indexOf(old, at), left--) {
    step();
    out.add(sliceStr(s, at, found)).add(by);
    at = found + old.length;
  }
  return at === 0 ? s : made(out.add(sliceStr(s, at)));
}

/** The same where all is the template's: counted first, so that nothing too long is made. */
function replacePlain(s: string, old: string, by: string): string {
  let times = 0;
  scan(s.length);
  for (let at = s.indexOf(old); at >= 0; at = s.indexOf(old, at + old.length)) times++;
  if (times === 0) return s;
  step(times >> 3);
  make(s.length + times * (by.length - old.length));
  return s.replaceAll(old, () => by);
}

/** Copied text counts as work. */
function made(out: StrBuilder): Str {
  make(out.length);
  return out.finish();
}

/** @param separator undefined = runs of white space */
function split(s: Str, separator: Str | undefined, limit: number): List {
  const value = plain(s);
  scan(value.length);
  const out: Value[] = [];
  let left = limit < 0 ? Number.POSITIVE_INFINITY : limit;
  if (separator === undefined) {
    let at = skipSpace(value, 0);
    while (at < value.length && left > 0) {
      let end = at;
      while (end < value.length && !space.test(value[end]!)) end++;
      step();
      out.push(sliceStr(s, at, end));
      at = skipSpace(value, end);
      left--;
    }
    if (at < value.length) out.push(strip(sliceStr(s, at), undefined, "right"));
    return new List(out);
  }
  const text = nonEmpty(separator);
  let at = 0;
  for (let found = value.indexOf(text); found >= 0 && left > 0; found = value.indexOf(text, at), left--) {
    step();
    out.push(sliceStr(s, at, found));
    at = found + text.length;
  }
  out.push(sliceStr(s, at));
  return new List(out);
}

function skipSpace(value: string, from: number): number {
  let at = from;
  while (at < value.length && space.test(value[at]!)) at++;
  return at;
}

function rsplit(s: Str, separator: Str | undefined, limit: number): List {
  if (limit < 0) return split(s, separator, -1);
  const value = plain(s);
  scan(value.length);
  const out: Value[] = [];
  let end = value.length;
  let left = limit;
  if (separator === undefined) {
    const trimmed = (to: number): number => plain(strip(sliceStr(s, 0, to), undefined, "right")).length;
    end = trimmed(end);
    while (end > 0 && left > 0) {
      let at = end;
      while (at > 0 && !space.test(value[at - 1]!)) at--;
      step();
      out.push(sliceStr(s, at, end));
      end = trimmed(at);
      left--;
    }
    if (end > 0) out.push(strip(sliceStr(s, 0, end), undefined, "left"));
    return new List(out.reverse());
  }
  const text = nonEmpty(separator);
  while (left > 0) {
    const found = end - text.length < 0 ? -1 : value.lastIndexOf(text, end - text.length);
    if (found < 0) break;
    step();
    out.push(sliceStr(s, found + text.length, end));
    end = found;
    left--;
  }
  out.push(sliceStr(s, 0, end));
  return new List(out.reverse());
}

function nonEmpty(separator: Str): string {
  const text = plain(separator);
  if (text === "") throw valueError("empty separator");
  return text;
}

function partition(s: Str, separator: Str, last: boolean): Tuple {
  const value = plain(s);
  scan(value.length);
  const text = nonEmpty(separator);
  const found = last ? value.lastIndexOf(text) : value.indexOf(text);
  if (found < 0) return new Tuple(last ? ["", "", s] : [s, "", ""]);
  const end = found + text.length;
  return new Tuple([sliceStr(s, 0, found), sliceStr(s, found, end), sliceStr(s, end)]);
}

const lineEnd = /\r\n|[\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029]/g;

export function splitLines(s: Str, keepEnds: boolean): Str[] {
  const value = plain(s);
  walk(value.length);
  const out: Str[] = [];
  let at = 0;
  for (const end of value.matchAll(lineEnd)) {
    step();
    const next = end.index + end[0].length;
    out.push(sliceStr(s, at, keepEnds ? next : end.index));
    at = next;
  }
  if (at < value.length) out.push(sliceStr(s, at));
  return out;
}

/** The found position by code points or -1, within s[start:end]. */
function find(s: Str, what: Value, start: Value | undefined, end: Value | undefined, last: boolean): number {
  const needle = plain(wantStr(what, "find"));
  const value = plain(s);
  const [from, to] = clampRange(intOrNone(start), intOrNone(end), pointCount(value));
  if (from > to) return -1;
  const first = unitOf(value, from);
  const within = value.slice(first, unitOf(value, to));
  scan(within.length);
  const found = last ? within.lastIndexOf(needle) : within.indexOf(needle);
  return found < 0 ? -1 : pointOf(value, first + found);
}

const intOrNone = (value: Value | undefined): number | undefined =>
  value === undefined || value === null ? undefined : wantInt(value, "slice");

function count(s: Str, what: Value, start: Value | undefined, end: Value | undefined): number {
  const needle = plain(wantStr(what, "count"));
  const within = plain(part(s, intOrNone(start), intOrNone(end)));
  if (needle === "") return pointCount(within) + 1;
  scan(within.length);
  let found = 0;
  for (let at = within.indexOf(needle); at >= 0; at = within.indexOf(needle, at + needle.length)) {
    step();
    found++;
  }
  return found;
}

function beginsOrEnds(s: Str, args: Arguments, name: "startswith" | "endswith"): boolean {
  const [what, start, end] = match(name, args, ["prefix", "start", "end"], 1);
  const within = plain(part(s, intOrNone(start), intOrNone(end)));
  const options = what instanceof Tuple ? what.items : [what!];
  return options.some((option) => {
    if (!isStr(option)) throw typeError(`${name} first arg must be str or a tuple of str, not ${typeName(option)}`);
    return name === "startswith" ? within.startsWith(plain(option)) : within.endsWith(plain(option));
  });
}

export function joinStrs(separator: Str, items: readonly Str[]): Str {
  const out = new StrBuilder();
  items.forEach((item, i) => {
    step();
    if (i > 0) out.add(separator);
    out.add(item);
  });
  return made(out);
}

/** @param left how many of the missing characters go to the left */
function justify(s: Str, args: Arguments, name: string, left: (missing: number, width: number) => number): Str {
  const [width, fill = " "] = match(name, args, ["width", "fillchar"], 1);
  const filling = wantStr(fill, name);
  if (pointCount(plain(filling)) !== 1) throw typeError("The fill character must be exactly one character long");
  const wanted = wantInt(width!, name);
  const missing = wanted - pointCount(plain(s));
  if (missing <= 0) return s;
  const before = left(missing, wanted);
  return concat([repeatStr(filling, before), s, repeatStr(filling, missing - before)]);
}

/** Python puts the odd one left where the width is odd. */
export const centerLeft = (missing: number, width: number): number => (missing >> 1) + (missing & width & 1);

function zfill(s: Str, width: number): Str {
  const missing = width - pointCount(plain(s));
  if (missing <= 0) return s;
  const signed = /^[+-]/.test(plain(s)) ? 1 : 0;
  return concat([sliceStr(s, 0, signed), repeatStr("0", missing), sliceStr(s, signed)]);
}

function expandTabs(s: Str, size: number): Str {
  let column = 0;
  return mapPoints(s, (c) => {
    if (c === "\t") {
      const spaces = size <= 0 ? 0 : size - (column % size);
      column += spaces;
      return " ".repeat(spaces);
    }
    column = c === "\n" || c === "\r" ? 0 : column + 1;
    return c;
  });
}

function translate(s: Str, table: Value): Str {
  if (!(table instanceof Dict)) throw typeError("translate: a table is a dict");
  return mapPoints(s, (c) => {
    const by = table.get(c.codePointAt(0)!);
    if (by === undefined) return c;
    if (by === null) return "";
    return typeof by === "number" ? String.fromCodePoint(by) : plain(wantStr(by, "translate"));
  });
}

const every = (s: Str, pattern: RegExp): boolean => {
  make(plain(s).length);
  walk(plain(s).length);
  return plain(s) !== "" && Array.from(plain(s)).every((c) => pattern.test(c));
};

const cased = (s: Str): boolean => {
  walk(2 * plain(s).length);
  return /\p{Lu}|\p{Ll}|\p{Lt}/u.test(plain(s));
};

function isTitle(s: Str): boolean {
  let afterCased = false;
  let any = false;
  for (const c of plain(s)) {
    step();
    if (/\p{Lu}|\p{Lt}/u.test(c)) {
      if (afterCased) return false;
      afterCased = any = true;
    } else if (/\p{Ll}/u.test(c)) {
      if (!afterCased) return false;
      any = true;
    } else afterCased = false;
  }
  return any;
}

export const isLower = (s: Str): boolean => cased(s) && !/\p{Lu}|\p{Lt}/u.test(plain(s));
export const isUpper = (s: Str): boolean => cased(s) && !/\p{Ll}|\p{Lt}/u.test(plain(s));

type Method = (s: Str, args: Arguments) => Value;

/** A method without arguments. */
const bare =
  (name: string, work: (s: Str) => Value): Method =>
  (s, args) => {
    match(name, args, [], 0);
    return work(s);
  };

const stripping =
  (name: string, ends: "both" | "left" | "right"): Method =>
  (s, args) => {
    const [characters = null] = match(name, args, ["chars"], 0);
    return strip(s, characters === null ? undefined : plain(wantStr(characters, name)), ends);
  };

const splitting =
  (name: string, work: (s: Str, separator: Str | undefined, limit: number) => List): Method =>
  (s, args) => {
    const [separator = null, limit] = match(name, args, ["sep", "maxsplit"], 0);
    return work(s, separator === null ? undefined : wantStr(separator, name), optionalInt(limit, -1, name));
  };

const finding =
  (name: string, last: boolean, required: boolean): Method =>
  (s, args) => {
    const [what, start, end] = match(name, args, ["sub", "start", "end"], 1);
    const at = find(s, what!, start, end, last);
    if (at < 0 && required) throw valueError("substring not found");
    return at;
  };

const affix =
  (name: string, work: (s: Str, affix: string) => Str): Method =>
  (s, args) => {
    const [text] = match(name, args, ["affix"], 1);
    return work(s, plain(wantStr(text!, name)));
  };

export const stringMethods: ReadonlyMap<string, Method> = new Map<string, Method>([
  ["capitalize", bare("capitalize", capitalize)],
  [
    "casefold",
    bare("casefold", (s) =>
      lower(mapWhole(s, plain(s).replaceAll("\u00df", "ss"), (c) => (c === "\u00df" ? "ss" : c))),
    ),
  ],
  ["center", (s, args) => justify(s, args, "center", centerLeft)],
  [
    "count",
    (s, args) => {
      const [what, start, end] = match("count", args, ["sub", "start", "end"], 1);
      return count(s, what!, start, end);
    },
  ],
  ["endswith", (s, args) => beginsOrEnds(s, args, "endswith")],
  [
    "expandtabs",
    (s, args) => expandTabs(s, optionalInt(match("expandtabs", args, ["tabsize"], 0)[0], 8, "expandtabs")),
  ],
  ["find", finding("find", false, false)],
  ["index", finding("index", false, true)],
  ["isalnum", bare("isalnum", (s) => every(s, /[\p{L}\p{Nd}\p{No}\p{Nl}]/u))],
  ["isalpha", bare("isalpha", (s) => every(s, /\p{L}/u))],
  ["isascii", bare("isascii", (s) => !/[^\x00-\x7f]/.test(plain(s)))],
  ["isdecimal", bare("isdecimal", (s) => every(s, /\p{Nd}/u))],
  ["isdigit", bare("isdigit", (s) => every(s, /[\p{Nd}\u00b2\u00b3\u00b9\u2070-\u2079\u2080-\u2089\u2460-\u2468]/u))],
  ["isidentifier", bare("isidentifier", (s) => /^[\p{XID_Start}_]\p{XID_Continue}*$/u.test(plain(s)))],
  ["islower", bare("islower", isLower)],
  ["isnumeric", bare("isnumeric", (s) => every(s, /\p{N}/u))],
  ["isprintable", bare("isprintable", (s) => !/[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u.test(plain(s)))],
  ["isspace", bare("isspace", (s) => every(s, space))],
  ["istitle", bare("istitle", isTitle)],
  ["isupper", bare("isupper", isUpper)],
  [
    "join",
    (s, args) => {
      const [items] = match("join", args, ["iterable"], 1);
      const parts = listOf(items!).map((item, i) => {
        if (isStr(item)) return item;
        throw typeError(`sequence item ${i}: expected str instance, ${typeName(item)} found`);
      });
      return joinStrs(s, parts);
    },
  ],
  ["ljust", (s, args) => justify(s, args, "ljust", () => 0)],
  ["lower", bare("lower", lower)],
  ["lstrip", stripping("lstrip", "left")],
  ["partition", (s, args) => partition(s, wantStr(match("partition", args, ["sep"], 1)[0]!, "partition"), false)],
  ["removeprefix", affix("removeprefix", (s, text) => (plain(s).startsWith(text) ? sliceStr(s, text.length) : s))],
  [
    "removesuffix",
    affix("removesuffix", (s, text) =>
      text !== "" && plain(s).endsWith(text) ? sliceStr(s, 0, plain(s).length - text.length) : s,
    ),
  ],
  [
    "replace",
    (s, args) => {
      const [old, by, times] = match("replace", args, ["old", "new", "count"], 2);
      return replaceAll(s, plain(wantStr(old!, "replace")), wantStr(by!, "replace"), optionalInt(times, -1, "replace"));
    },
  ],
  ["rfind", finding("rfind", true, false)],
  ["rindex", finding("rindex", true, true)],
  ["rjust", (s, args) => justify(s, args, "rjust", (missing) => missing)],
  ["rpartition", (s, args) => partition(s, wantStr(match("rpartition", args, ["sep"], 1)[0]!, "rpartition"), true)],
  ["rsplit", splitting("rsplit", rsplit)],
  ["rstrip", stripping("rstrip", "right")],
  ["split", splitting("split", split)],
  [
    "splitlines",
    (s, args) => {
      const [keep = false] = match("splitlines", args, ["keepends"], 0);
      return new List(splitLines(s, keep === true || keep === 1));
    },
  ],
  ["startswith", (s, args) => beginsOrEnds(s, args, "startswith")],
  ["strip", stripping("strip", "both")],
  [
    "swapcase",
    bare("swapcase", (s) => mapPoints(s, (c) => (c.toLowerCase() === c ? c.toUpperCase() : c.toLowerCase()))),
  ],
  ["title", bare("title", title)],
  ["translate", (s, args) => translate(s, match("translate", args, ["table"], 1)[0]!)],
  ["upper", bare("upper", upper)],
  ["zfill", (s, args) => zfill(s, wantInt(match("zfill", args, ["width"], 1)[0]!, "zfill"))],
]);
