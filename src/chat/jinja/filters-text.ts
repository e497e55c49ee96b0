/** Filters that make text. Each takes the value, then its arguments, as Jinja2 3.1 has them. */
import { match, optionalInt, wantInt, wantNumber, wantStr } from "./arguments.js";
import { sortValues } from "./compare.js";
import { typeError, valueError } from "./errors.js";
import { escapeStr, forceEscape, stripTags } from "./escape.js";
import type { Filter } from "./filter.js";
import { percentFormat } from "./format.js";
import { dumpJson, dumpOptions } from "./json.js";
import { enter, leave, step, walk } from "./limits.js";
import { fixed } from "./numbers.js";
import { part, unitOf } from "./points.js";
import { repr, str } from "./repr.js";
import { capitalize, centerLeft, joinStrs, lower, replaceAll, splitLines, strip, upper } from "./strings.js";
import {
  asMarkup,
  concat,
  isMarkup,
  isStr,
  mapPoints,
  plain,
  repeatStr,
  type Str,
  StrBuilder,
  sliceStr,
} from "./text.js";
import {
  Dict,
  Float,
  isInt,
  isNumber,
  List,
  lengthOf,
  listOf,
  numeric,
  orElse,
  pointCount,
  Tuple,
  truthy,
  typeName,
  Undefined,
  type Value,
} from "./values.js";

const onStr =
  (name: string, work: (s: Str) => Value): Filter =>
  (value, args) => {
    match(name, args, [], 0);
    return work(str(value));
  };

const indent: Filter = (value, args) => {
  const [width = 4, first = false, blank = false] = match("indent", args, ["width", "first", "blank"], 0);
  const margin = isStr(width) ? width : repeatStr(" ", wantInt(width, "indent"));
  if (value instanceof Undefined) throw value.fail();
  const source = wantStr(value, "indent");
  // The empty line behind a last line end counts, too.
  const lines = splitLines(concat([source, "\n"]), false);
  const rest = lines.slice(1).map((line) => (truthy(blank) || plain(line) !== "" ? concat([margin, line]) : line));
  const body = joinStrs("\n", [lines[0] ?? "", ...rest]);
  return asMarkup(truthy(first) ? concat([margin, body]) : body, isMarkup(source));
};

const truncate: Filter = (value, args, context) => {
  const names = ["length", "killwords", "end", "leeway"];
  const [length, kill = false, end = "...", leeway] = match("truncate", args, names, 0);
  const size = lengthOf(value);
  if (size === undefined) throw typeError(`object of type '${typeName(value)}' has no len()`);
  const wanted = optionalInt(length, 255, "truncate");
  const ending = wantStr(end, "truncate");
  const slack = optionalInt(leeway, context.truncateLeeway, "truncate");
  const endLength = pointCount(plain(ending));
  if (wanted < endLength) throw typeError(`expected length >= ${endLength}, got ${wanted}`);
  if (size <= wanted + slack) return value instanceof Undefined ? "" : value;
  const s = wantStr(value, "truncate");
  const cut = part(s, 0, wanted - endLength);
  if (truthy(kill)) return concat([cut, ending]);
  const space = plain(cut).lastIndexOf(" ");
  return concat([space < 0 ? cut : sliceStr(cut, 0, space), ending]);
};

const wordwrap: Filter = (value, args) => {
  const names = ["width", "break_long_words", "wrapstring", "break_on_hyphens"];
  const [width, breakLong = true, wrap = "\n", hyphens = true] = match("wordwrap", args, names, 0);
  if (value instanceof Undefined) throw value.fail();
  const s = wantStr(value, "wordwrap");
  const columns = Math.max(1, optionalInt(width, 79, "wordwrap"));
  const separator = wantStr(wrap === null ? "\n" : wrap, "wordwrap");
  const lines = splitLines(s, false).map((line) =>
    joinStrs(separator, wrapLine(line, columns, truthy(breakLong), truthy(hyphens))),
  );
  return joinStrs(separator, lines);
};

/** Greedy, as Python's textwrap without replacing white space: chunks of words and of blanks. */
function wrapLine(line: Str, columns: number, breakLong: boolean, hyphens: boolean): Str[] {
  const pattern = hyphens
    ? /\s+|[^\s-]*[\p{L}\p{N}]-(?=[\p{L}])|[^\s]+?(?=\s|$|[^\s-]*[\p{L}\p{N}]-\p{L})/gu
    : /\s+|\S+/g;
  const chunks: Str[] = [];
  walk(8 * plain(line).length);
  for (const found of plain(line).matchAll(pattern)) {
    chunks.push(sliceStr(line, found.index, found.index + found[0].length));
  }
  const out: Str[] = [];
  const sizeOf = (s: Str): number => pointCount(plain(s));
  chunks.reverse();
  while (chunks.length > 0) {
    const current: Str[] = [];
    let used = 0;
    if (out.length > 0 && plain(chunks.at(-1)!).trim() === "") chunks.pop();
    while (chunks.length > 0 && used + sizeOf(chunks.at(-1)!) <= columns) {
      used += sizeOf(chunks.at(-1)!);
      current.push(chunks.pop()!);
    }
    if (chunks.length > 0 && sizeOf(chunks.at(-1)!) > columns) {
      const left = columns - used;
      if (breakLong && left > 0) {
        const long = chunks.pop()!;
        current.push(part(long, 0, left));
        chunks.push(part(long, left, undefined));
      } else if (current.length === 0) current.push(chunks.pop()!);
    }
    if (current.length > 0 && plain(current.at(-1)!).trim() === "") current.pop();
    if (current.length > 0) out.push(concat(current));
  }
  return out;
}

const fileSize: Filter = (value, args) => {
  const [binary = false] = match("filesizeformat", args, ["binary"], 0);
  const bytes = isStr(value) ? Number(plain(value).trim() || "x") : wantNumber(value, "filesizeformat");
  if (isStr(value) && Number.isNaN(bytes)) throw valueError(`could not convert string to float: '${plain(value)}'`);
  const base = truthy(binary) ? 1024 : 1000;
  const units = truthy(binary)
    ? ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
    : ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"];
  if (bytes === 1) return "1 Byte";
  if (bytes < base) return `${Math.trunc(bytes)} Bytes`;
  let power = 1;
  while (power < units.length && bytes >= base ** (power + 1)) power++;
  return `${fixed(bytes / base ** power, 1)} ${units[power - 1]}`;
};

/** Bytes that stay as they are: urllib's quote with '/' safe. */
const unreserved = /[A-Za-z0-9_.\-~/]/;

function quoteUrl(s: Str, slash: boolean): Str {
  return mapPoints(s, (c) => {
    if (unreserved.test(c) && (slash || c !== "/")) return c;
    return Array.from(Buffer.from(c, "utf8"), (byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join(
      "",
    );
  });
}

const urlencode: Filter = (value) => {
  if (isStr(value) || !(value instanceof Dict || value instanceof List || value instanceof Tuple))
    return quoteUrl(str(value), true);
  const pairs: Value[] =
    value instanceof Dict ? [...value.entries()].map(([key, item]) => new Tuple([key, item])) : [...value.items];
  const query = (item: Value): Str => replaceAll(quoteUrl(str(item), false), "%20", "+", -1);
  return joinStrs(
    "&",
    pairs.map((pair) => {
      const [key, item, more] = listOf(pair);
      if (key === undefined || item === undefined || more !== undefined)
        throw valueError("urlencode: an item is a pair of key and value");
      return concat([query(key), "=", query(item)]);
    }),
  );
};

const xmlattr: Filter = (value, args) => {
  const [autospace = true] = match("xmlattr", args, ["autospace"], 0);
  if (!(value instanceof Dict)) throw typeError("xmlattr: a mapping is required");
  const fields: Str[] = [];
  for (const [key, item] of value.entries()) {
    if (item === null || item instanceof Undefined) continue;
    if (/[\s/>=]/.test(plain(str(key)))) throw typeError(`Invalid character in attribute name: '${plain(str(key))}'`);
    fields.push(concat([escapeStr(str(key)), '="', escapeStr(str(item)), '"']));
  }
  const text = joinStrs(" ", fields);
  return truthy(autospace) && fields.length > 0 ? concat([" ", text]) : text;
};

const urlize: Filter = (value) => {
  const pattern = /(https?:\/\/[^\s<>"']+|www\.[^\s<>"']+)/g;
  const s = escapeStr(str(value));
  walk(4 * plain(s).length);
  const out = new StrBuilder();
  let at = 0;
  for (const found of plain(s).matchAll(pattern)) {
    const end = found.index + found[0].length;
    const link = sliceStr(s, found.index, end);
    const target = found[0].startsWith("www.") ? concat(["https://", link]) : link;
    out
      .add(sliceStr(s, at, found.index))
      .add('<a href="')
      .add(target)
      .add('" rel="noopener">')
      .add(link)
      .add("</a>");
    at = end;
  }
  return out.add(sliceStr(s, at)).finish();
};

const tojson: Filter = (value, args) => {
  const names = ["ensure_ascii", "indent", "separators", "sort_keys"];
  const [ascii = false, lines = null, separators = null, sorted = false] = match("tojson", args, names, 0);
  return dumpJson(value, dumpOptions(ascii, lines, separators, sorted));
};

const join: Filter = (value, args, context) => {
  const [separator = "", attribute = null] = match("join", args, ["d", "attribute"], 0);
  const get = attribute === null ? undefined : context.getter(attribute);
  const items = listOf(value).map((item) => str(get === undefined ? item : get(item)));
  const between = str(separator);
  if (!context.autoescape) return joinStrs(between, items);
  return asMarkup(joinStrs(escapeStr(between), items.map(escapeStr)), true);
};

const replace: Filter = (value, args) => {
  const [old, by, times = null] = match("replace", args, ["old", "new", "count"], 2);
  return replaceAll(str(value), plain(str(old!)), str(by!), optionalInt(times, -1, "replace"));
};

const trim: Filter = (value, args) => {
  const [characters = null] = match("trim", args, ["chars"], 0);
  return strip(str(value), characters === null ? undefined : plain(wantStr(characters, "trim")), "both");
};

const center: Filter = (value, args) => {
  const [width] = match("center", args, ["width"], 0);
  const s = str(value);
  const wanted = optionalInt(width, 80, "center");
  const missing = wanted - pointCount(plain(s));
  if (missing <= 0) return s;
  const left = centerLeft(missing, wanted);
  return concat([repeatStr(" ", left), s, repeatStr(" ", missing - left)]);
};

const format: Filter = (value, args) => {
  if (args.positional.length > 0 && args.named.size > 0)
    throw typeError("can't handle positional and keyword arguments at the same time");
  const named = Dict.of([...args.named].map(([key, item]) => [key, item] as const));
  return percentFormat(str(value), args.named.size > 0 ? named : new Tuple(args.positional));
};

/** Words begin behind blanks and opening brackets, as the filter (not the method) has it. */
const titleWords: Filter = (value) => {
  const s = str(value);
  walk(plain(s).length);
  const out = new StrBuilder();
  let at = 0;
  for (const found of plain(s).matchAll(/[-\s({[<]+/g)) {
    out.add(titleWord(sliceStr(s, at, found.index))).add(sliceStr(s, found.index, found.index + found[0].length));
    at = found.index + found[0].length;
  }
  return out.add(titleWord(sliceStr(s, at))).finish();
};

function titleWord(word: Str): Str {
  const first = unitOf(plain(word), 1);
  return concat([upper(sliceStr(word, 0, first)), lower(sliceStr(word, first))]);
}

const toInt: Filter = (value, args) => {
  if (value instanceof Undefined) throw value.fail();
  const [or = 0, base = 10] = match("int", args, ["default", "base"], 0);
  if (value instanceof Float) return Number.isFinite(value.value) ? wholeOf(value.value) : or;
  if (isInt(value) || typeof value === "boolean") return numeric(value);
  if (!isStr(value)) return or;
  const text = plain(value)
    .trim()
    .replaceAll(/(?<=\w)_(?=\w)/g, "");
  return orElse(parseInteger(text, wantInt(base, "int")), () => orElse(floatInteger(text), () => or));
};

function wholeOf(x: number): Value {
  const whole = Math.trunc(x);
  return Number.isSafeInteger(whole) ? whole + 0 : BigInt(whole);
}

function parseInteger(text: string, base: number): Value | undefined {
  const [, sign = "", prefix = "", digits = ""] = /^([+-]?)(0[xXoObB])?([0-9a-zA-Z]+)$/.exec(text) ?? [];
  if (digits === "" || digits.length > 4300) return undefined;
  const bases: Record<string, number> = { "0x": 16, "0o": 8, "0b": 2 };
  if (prefix !== "" && bases[prefix.toLowerCase()] !== base) return undefined;
  let value = 0n;
  for (const c of digits.toLowerCase()) {
    const digit = Number.parseInt(c, 36);
    if (!(digit < base)) return undefined;
    value = value * BigInt(base) + BigInt(digit);
  }
  const signed = sign === "-" ? -value : value;
  return signed >= Number.MIN_SAFE_INTEGER && signed <= Number.MAX_SAFE_INTEGER ? Number(signed) : signed;
}

const floatPattern = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

function floatInteger(text: string): Value | undefined {
  return floatPattern.test(text) && Number.isFinite(Number(text)) ? wholeOf(Number(text)) : undefined;
}

const toFloat: Filter = (value, args) => {
  if (value instanceof Undefined) throw value.fail();
  const [or = new Float(0)] = match("float", args, ["default"], 0);
  if (isNumber(value)) return new Float(Number(numeric(value)));
  if (!isStr(value)) return or;
  const text = plain(value).trim();
  if (floatPattern.test(text)) return new Float(Number(text));
  const special = /^([+-]?)(?:(inf|infinity)|nan)$/i.exec(text);
  if (special === null) return or;
  return new Float(special[2] === undefined ? Number.NaN : special[1] === "-" ? -Infinity : Infinity);
};

const upperFirst = onStr("capitalize", capitalize);

/** pprint: mappings in the order of their keys; what does not fit one line is broken between items. */
const pretty: Filter = (value) => {
  const sorted = inKeyOrder(value);
  const line = repr(sorted);
  if (pointCount(plain(line)) <= 80) return line;
  if (sorted instanceof List) return concat(["[", joinStrs(",\n ", sorted.items.map(repr)), "]"]);
  if (!(sorted instanceof Dict)) return line;
  const fields = Array.from(sorted.entries(), ([key, item]) => concat([repr(key), ": ", repr(item)]));
  return concat(["{", joinStrs(",\n ", fields), "}"]);
};

function inKeyOrder(value: Value): Value {
  enter();
  try {
    if (value instanceof List) return new List(value.items.map(inKeyOrder));
    if (!(value instanceof Dict)) return value;
    const keys = value.keys();
    const order = keys.every(isStr) ? sortValues(keys, (key) => key, false) : keys;
    return Dict.of(order.map((key) => [key, inKeyOrder(value.get(key)!)] as const));
  } finally {
    leave();
  }
}

export const textFilters: readonly (readonly [string, Filter])[] = [
  ["capitalize", upperFirst],
  ["center", center],
  ["e", (value) => escapeStr(str(value))],
  ["escape", (value) => escapeStr(str(value))],
  ["filesizeformat", fileSize],
  ["float", toFloat],
  ["forceescape", (value) => forceEscape(str(value))],
  ["format", format],
  ["indent", indent],
  ["int", toInt],
  ["join", join],
  ["lower", onStr("lower", lower)],
  ["pprint", pretty],
  ["replace", replace],
  ["safe", (value) => asMarkup(str(value), true)],
  ["string", (value) => str(value)],
  ["striptags", (value) => stripTagsOf(str(value))],
  ["title", titleWords],
  ["tojson", tojson],
  ["trim", trim],
  ["truncate", truncate],
  ["upper", onStr("upper", upper)],
  ["urlencode", urlencode],
  ["urlize", urlize],
  ["wordcount", (value) => countWords(plain(str(value)))],
  ["wordwrap", wordwrap],
  ["xmlattr", xmlattr],
];

function countWords(text: string): number {
  walk(4 * text.length);
  const word = /[\p{L}\p{N}_]+/gu;
  let count = 0;
  while (word.exec(text) !== null) {
    step();
    count++;
  }
  return count;
}

/** The result of a person's text is a person's. */
function stripTagsOf(s: Str): Str {
  const stripped = stripTags(plain(s));
  return new StrBuilder().addAs(stripped, s, firstPersons(s)).finish();
}

const firstPersons = (s: Str): number => (typeof s === "string" ? 0 : (s.spans[0] ?? 0));
