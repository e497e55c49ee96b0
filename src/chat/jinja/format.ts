/** Python's two ways to format: `"%s" % x` and `"{}".format(x)`, with the mini-language of the latter. */
import { TemplateFault, typeError, valueError } from "./errors.js";
import { make, scan, walk } from "./limits.js";
import { exponential, fixed, floatRepr, general } from "./numbers.js";
import { repr, str } from "./repr.js";
import { isStr, plain, type Str, StrBuilder, sliceStr } from "./text.js";
import {
  type Arguments,
  Dict,
  Float,
  isInt,
  isNumber,
  List,
  numeric,
  pointCount,
  Range,
  Tuple,
  typeName,
  type Value,
} from "./values.js";

/** Digits behind the point: what is beyond is zeros and takes quadratic time. */
const maxPrecision = 4096;

function bounded(precision: number): number {
  if (precision > maxPrecision) throw valueError(`a precision above ${maxPrecision}`);
  return precision;
}

/** `format % values`.  @throws TypeError, ValueError */
export function percentFormat(format: Str, values: Value): Str {
  const text = plain(format);
  scan(text.length);
  const out = new StrBuilder();
  const items = values instanceof Tuple ? values.items : [values];
  let used = 0;
  const pattern =
    /%(?:\((?<key>[^)]*)\))?(?<flags>[#0\- +]*)(?<width>\*|\d+)?(?:\.(?<precision>\*|\d+)?)?[hlL]?(?<type>.)/gsu;
  const next = (): Value => {
    if (used >= items.length) throw typeError("not enough arguments for format string");
    return items[used++]!;
  };
  const count = (part: string | undefined): number | undefined => {
    const value = part === "*" ? next() : part === undefined ? undefined : Number(part);
    if (value === undefined) return undefined;
    if (typeof value !== "number") throw typeError("* wants int");
    return value;
  };
  let at = 0;
  for (let start = text.indexOf("%"); start >= 0; start = text.indexOf("%", at)) {
    out.add(sliceStr(format, at, start));
    pattern.lastIndex = start;
    const match = pattern.exec(text);
    if (match === null || match.index !== start) throw valueError("incomplete format");
    at = start + match[0].length;
    const { key, flags = "", type = "" } = match.groups!;
    if (type === "%") {
      out.add("%");
      continue;
    }
    const width = count(match.groups!.width);
    const hasPrecision = match[0].includes(".");
    const precision = bounded(count(match.groups!.precision) ?? 0);
    const value = key === undefined ? next() : field(values, key);
    const spec: Spec = {
      fill: flags.includes("0") && !flags.includes("-") && !"srac".includes(type) ? "0" : " ",
      align: flags.includes("-") ? "<" : flags.includes("0") && !"srac".includes(type) ? "=" : ">",
      sign: flags.includes("+") ? "+" : flags.includes(" ") ? " " : "-",
      alternate: flags.includes("#"),
      width: width ?? 0,
      grouping: "",
      precision: hasPrecision ? precision : undefined,
      type: type === "i" || type === "u" ? "d" : type,
    };
    out.add(percentField(value, spec));
  }
  out.add(sliceStr(format, at));
  // What has items by key, a list too, may be left over.
  if (used < items.length && !(values instanceof Dict || values instanceof List || values instanceof Range))
    throw typeError("not all arguments converted during string formatting");
  return out.finish();
}

function field(values: Value, key: string): Value {
  if (!(values instanceof Dict)) throw typeError("format requires a mapping");
  const value = values.get(key);
  if (value === undefined) throw new TemplateFault("KeyError", `'${key}'`);
  return value;
}

function percentField(value: Value, spec: Spec): Str {
  if (spec.type === "s" || spec.type === "r" || spec.type === "a") {
    const text = spec.type === "s" ? str(value) : repr(value);
    return pad(truncated(text, spec.precision), spec);
  }
  if (spec.type === "c") return pad(isStr(value) ? value : String.fromCodePoint(Number(numberOf(value, spec))), spec);
  if ("dxXo".includes(spec.type)) {
    const whole = value instanceof Float ? Math.trunc(value.value) : numberOf(value, spec);
    return formatInteger(BigInt(whole), { ...spec, precision: undefined }, spec.precision);
  }
  if ("eEfFgG".includes(spec.type)) return formatFloat(Number(numberOf(value, spec)), spec);
  throw valueError(`unsupported format character '${spec.type}'`);
}

function numberOf(value: Value, spec: Spec): number | bigint {
  if (!isNumber(value)) throw typeError(`%${spec.type} format: a real number is required, not ${typeName(value)}`);
  return numeric(value);
}

interface Spec {
  readonly fill: string;
  /** "" = the default of the value's type. */
  readonly align: "" | "<" | ">" | "^" | "=";
  readonly sign: "+" | "-" | " ";
  readonly alternate: boolean;
  readonly width: number;
  readonly grouping: "" | "," | "_";
  readonly precision: number | undefined;
  readonly type: string;
}

const specPattern = /^(?:(.)?([<>=^]))?([+\- ])?(z)?(#)?(0)?(\d+)?([,_])?(?:\.(\d+))?([a-zA-Z%])?$/su;

function readSpec(text: string): Spec {
  const match = specPattern.exec(text);
  if (match === null) throw valueError("Invalid format specifier");
  const [, fill, align, sign, , alternate, zero, width, grouping, precision, type] = match;
  return {
    fill: fill ?? (zero !== undefined && align === undefined ? "0" : " "),
    align: (align ?? (zero !== undefined ? "=" : "")) as Spec["align"],
    sign: (sign ?? "-") as Spec["sign"],
    alternate: alternate !== undefined,
    width: Number(width ?? 0),
    grouping: (grouping ?? "") as Spec["grouping"],
    precision: precision === undefined ? undefined : bounded(Number(precision)),
    type: type ?? "",
  };
}

/** format(value, spec).  @throws TypeError, ValueError */
export function formatValue(value: Value, specText: string): Str {
  if (specText === "") return str(value);
  const spec = readSpec(specText);
  if (isStr(value)) {
    if (spec.type !== "" && spec.type !== "s")
      throw valueError(`Unknown format code '${spec.type}' for object of type 'str'`);
    if (spec.align === "=") throw valueError("'=' alignment not allowed in string format specifier");
    return pad(truncated(value, spec.precision), spec.align === "" ? { ...spec, align: "<" } : spec);
  }
  if (value instanceof Float) return formatFloat(value.value, spec);
  if (isInt(value) || typeof value === "boolean") {
    if (spec.type === "" && typeof value === "boolean") return pad(str(value), spec);
    if ("eEfFgG%".includes(spec.type) && spec.type !== "") return formatFloat(Number(numeric(value)), spec);
    return formatInteger(BigInt(numeric(value)), spec, undefined);
  }
  throw typeError(`unsupported format string passed to ${typeName(value)}.__format__`);
}

function truncated(s: Str, points: number | undefined): Str {
  if (points === undefined || pointCount(plain(s)) <= points) return s;
  return sliceStr(s, 0, Array.from(plain(s)).slice(0, points).join("").length);
}

function formatInteger(value: bigint, spec: Spec, minDigits: number | undefined): Str {
  const magnitude = value < 0n ? -value : value;
  const bases: Record<string, [number, string]> = { b: [2, "0b"], o: [8, "0o"], x: [16, "0x"], X: [16, "0X"] };
  const [base, mark] = bases[spec.type] ?? [10, ""];
  if (spec.type === "c") return pad(String.fromCodePoint(Number(value)), spec);
  if (!["", "d", "n"].includes(spec.type) && bases[spec.type] === undefined)
    throw valueError(`Unknown format code '${spec.type}' for object of type 'int'`);
  let digits = magnitude.toString(base);
  if (spec.type === "X") digits = digits.toUpperCase();
  if (minDigits !== undefined) digits = digits.padStart(minDigits, "0");
  return padNumber(signOf(value < 0n, spec), spec.alternate ? mark : "", digits, spec, base === 10 ? 3 : 4);
}

function formatFloat(value: number, spec: Spec): Str {
  const type = spec.type;
  const magnitude = Math.abs(value);
  let body: string;
  if (!Number.isFinite(value)) body = Number.isNaN(value) ? "nan" : "inf";
  else if (type === "f" || type === "F") body = fixed(magnitude, spec.precision ?? 6);
  else if (type === "e" || type === "E") body = exponential(magnitude, spec.precision ?? 6);
  else if (type === "g" || type === "G" || type === "n") body = general(magnitude, spec.precision ?? 6, spec.alternate);
  else if (type === "%") body = `${fixed(magnitude * 100, spec.precision ?? 6)}%`;
  else if (type === "")
    body = spec.precision === undefined ? floatRepr(magnitude) : shortest(magnitude, spec.precision);
  else throw valueError(`Unknown format code '${type}' for object of type 'float'`);
  if (type === "F" || type === "E" || type === "G") body = body.toUpperCase();
  const negative = value < 0 || Object.is(value, -0);
  return padNumber(signOf(negative, spec), "", body, spec, 3);
}

/** Without a type a precision means %g, with a digit after the point at the least. */
function shortest(x: number, precision: number): string {
  const text = general(x, precision);
  return /[.e]/.test(text) ? text : `${text}.0`;
}

const signOf = (negative: boolean, spec: Spec): string => (negative ? "-" : spec.sign === "-" ? "" : spec.sign);

function padNumber(sign: string, mark: string, body: string, spec: Spec, group: number): Str {
  const [, whole = body, rest = ""] = /^([0-9a-fA-F]*)(.*)$/s.exec(body) ?? [];
  const grouped = (digits: string): string =>
    spec.grouping === ""
      ? digits
      : digits.replace(new RegExp(`\\B(?=(?:[0-9a-fA-F]{${group}})+$)`, "g"), spec.grouping);
  let digits = grouped(whole);
  if (spec.align === "=" && spec.fill === "0" && spec.grouping !== "") {
    // Zeros are grouped, too.
    let padded = whole;
    while (sign.length + mark.length + grouped(padded).length + rest.length < spec.width) padded = `0${padded}`;
    digits = grouped(padded);
  }
  const text = `${sign}${mark}${digits}${rest}`;
  if (spec.align === "=") {
    const fill = spec.fill.repeat(Math.max(0, spec.width - text.length));
    make(fill.length);
    return `${sign}${mark}${fill}${digits}${rest}`;
  }
  return pad(text, spec.align === "" ? { ...spec, align: ">" } : spec);
}

function pad(s: Str, { align, fill, width }: Spec): Str {
  const missing = width - pointCount(plain(s));
  if (missing <= 0) return s;
  make(missing);
  const left = align === "^" ? Math.floor(missing / 2) : align === ">" || align === "" ? missing : 0;
  return new StrBuilder()
    .add(fill.repeat(left))
    .add(s)
    .add(fill.repeat(missing - left))
    .finish();
}

/** How a template's own look-up of attributes and items is told to the formatter. */
export interface Access {
  attribute(value: Value, name: string): Value;
  item(value: Value, key: Value): Value;
}

/** `format.format(...)`.  @throws IndexError, KeyError, ValueError, TypeError */
export function braceFormat(format: Str, args: Arguments, access: Access): Str {
  let automatic = 0;
  const expand = (source: Str, depth: number): Str => {
    if (depth > 2) throw valueError("Max string recursion exceeded");
    const text = plain(source);
    walk(text.length);
    const out = new StrBuilder();
    let at = 0;
    while (at < text.length) {
      const brace = nextBrace(text, at);
      out.add(sliceStr(source, at, brace));
      if (brace === text.length) break;
      if (text[brace] === text[brace + 1]) {
        out.add(sliceStr(source, brace, brace + 1));
        at = brace + 2;
        continue;
      }
      if (text[brace] === "}") throw valueError("Single '}' encountered in format string");
      const end = closing(text, brace);
      out.add(replacement(text.slice(brace + 1, end), (inner) => expand(inner, depth + 1)));
      at = end + 1;
    }
    return out.finish();
  };
  const replacement = (content: string, expandSpec: (spec: Str) => Str): Str => {
    const [, name = "", conversion, spec] = /^([^!:]*)(?:!([a-z]))?(?::(.*))?$/s.exec(content) ?? [];
    let value = lookUp(name);
    if (conversion === "r" || conversion === "a") value = repr(value);
    else if (conversion === "s") value = str(value);
    else if (conversion !== undefined) throw valueError(`Unknown conversion specifier '${conversion}'`);
    return formatValue(value, spec === undefined ? "" : plain(spec.includes("{") ? expandSpec(spec) : spec));
  };
  const lookUp = (name: string): Value => {
    const [first = ""] = /^[^.[]*/.exec(name) ?? [""];
    let value: Value | undefined;
    if (first === "") value = args.positional[automatic++];
    else if (/^\d+$/.test(first)) value = args.positional[Number(first)];
    else {
      value = args.named.get(first);
      if (value === undefined) throw new TemplateFault("KeyError", `'${first}'`);
    }
    if (value === undefined)
      throw new TemplateFault("IndexError", "Replacement index out of range for positional args tuple");
    for (const [, attribute, item] of name.slice(first.length).matchAll(/\.([^.[]+)|\[([^\]]+)\]/g)) {
      if (attribute !== undefined) value = access.attribute(value, attribute);
      else value = access.item(value, /^\d+$/.test(item!) ? Number(item) : item!);
    }
    return value;
  };
  return expand(format, 0);
}

function nextBrace(text: string, from: number): number {
  for (let i = from; i < text.length; i++) if (text[i] === "{" || text[i] === "}") return i;
  return text.length;
}

function closing(text: string, open: number): number {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === "{") depth++;
    else if (text[i] === "}" && --depth === 0) return i;
  }
  throw valueError("expected '}' before end of string");
}
