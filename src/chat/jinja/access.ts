/** Attributes and items as Jinja's immutable sandbox gives them: methods first for `.`, items first for `[]`. */
import { match } from "./arguments.js";
import { equal } from "./compare.js";
import { TemplateFault, typeError, valueError } from "./errors.js";
import { braceFormat } from "./format.js";
import { sliceIndices, sliceOfStr } from "./points.js";
import { str } from "./repr.js";
import { stringMethods } from "./strings.js";
import { isStr, plain, type Str } from "./text.js";
import {
  type Arguments,
  Callable,
  Dict,
  DictView,
  Float,
  isInt,
  isNumber,
  List,
  Namespace,
  numeric,
  orElse,
  pointCount,
  Range,
  Tuple,
  typeName,
  Undefined,
  Unsafe,
  type Value,
} from "./values.js";

/** Methods that would change a value; the sandbox refuses them. */
const changing: ReadonlyMap<string, ReadonlySet<string>> = new Map([
  ["dict", new Set(["clear", "pop", "popitem", "setdefault", "update"])],
  ["list", new Set(["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"])],
]);

/** `value.name` */
export function getAttribute(value: Value, name: string): Value {
  if (value instanceof Undefined) throw value.fail();
  const found = attributeOf(value, name);
  if (found !== undefined) return found;
  return orElse(itemOrNone(value, name), () => missing(value, name));
}

/** `value[key]` */
export function getItem(value: Value, key: Value): Value {
  if (value instanceof Undefined) throw value.fail();
  const found = itemOrNone(value, key);
  if (found !== undefined) return found;
  if (isStr(key)) {
    const attribute = attributeOf(value, plain(key));
    if (attribute !== undefined) return attribute;
  }
  return missing(value, key);
}

/** Only an attribute, as the filter `attr`. */
export function onlyAttribute(value: Value, name: string): Value {
  if (value instanceof Undefined) throw value.fail();
  return orElse(attributeOf(value, name), () => missing(value, name));
}

function missing(value: Value, key: Value): Undefined {
  const type = value instanceof Namespace ? "Namespace" : typeName(value);
  const name = isStr(key) ? `attribute '${plain(key)}'` : `element ${plain(str(key))}`;
  return new Undefined(value === null ? `'None' has no ${name}` : `'${type} object' has no ${name}`);
}

function itemOrNone(value: Value, key: Value): Value | undefined {
  if (value instanceof Dict) return isHashable(key) ? value.get(key) : undefined;
  if (value instanceof Namespace) return value.attributes.get(key);
  if (!isInt(key) && typeof key !== "boolean") return undefined;
  const index = Number(key);
  if (value instanceof List || value instanceof Tuple) return value.items.at(index);
  if (isStr(value)) {
    const length = pointCount(plain(value));
    const at = index < 0 ? index + length : index;
    return at < 0 || at >= length ? undefined : sliceOfStr(value, at, at + 1, 1);
  }
  if (value instanceof Range) {
    const at = index < 0 ? index + value.length : index;
    return at < 0 || at >= value.length ? undefined : value.at(at);
  }
  return undefined;
}

const isHashable = (key: Value): boolean =>
  !(key instanceof List || key instanceof Dict || key instanceof DictView) &&
  (!(key instanceof Tuple) || key.items.every(isHashable));

function attributeOf(value: Value, name: string): Value | undefined {
  if (name.startsWith("_")) {
    return new Unsafe(`access to attribute '${name}' of '${typeName(value)}' object is unsafe.`);
  }
  if (changing.get(typeName(value))?.has(name) === true)
    return new Unsafe(`access to attribute '${name}' of '${typeName(value)}' object is unsafe.`);
  if (value instanceof Namespace) return value.attributes.get(name);
  if (isStr(value)) return strAttribute(value, name);
  if (value instanceof Dict) return dictMethod(value, name);
  if (value instanceof List || value instanceof Tuple) return sequenceAttribute(value, name);
  if (value instanceof Callable) return name === "name" ? value.name : value.attribute?.(name);
  if (value instanceof Range && (name === "start" || name === "stop" || name === "step")) return value[name];
  if (isNumber(value)) return numberAttribute(value, name);
  return undefined;
}

const method = (name: string, call: (args: Arguments) => Value): Callable => new Callable(name, call);

/** str.encode exists, and gives what no template can print usefully. */
const bytesMethods = new Set(["encode"]);

function strAttribute(s: Str, name: string): Value | undefined {
  if (name === "format")
    return method("format", (args) => braceFormat(s, args, { attribute: getAttribute, item: getItem }));
  if (name === "format_map")
    return method("format_map", (args) => {
      const [map] = match("format_map", args, ["mapping"], 1);
      if (!(map instanceof Dict)) throw typeError("format_map: a mapping is required");
      const named = new Map([...map.entries()].map(([key, value]) => [plain(str(key)), value]));
      return braceFormat(s, { positional: [], named }, { attribute: getAttribute, item: getItem });
    });
  if (bytesMethods.has(name))
    return method(name, () => {
      throw typeError("bytes are not supported in templates");
    });
  const found = stringMethods.get(name);
  return found === undefined ? undefined : method(name, (args) => found(s, args));
}

function dictMethod(dict: Dict, name: string): Value | undefined {
  switch (name) {
    case "get":
      return method(name, (args) => {
        const [key, or = null] = match(name, args, ["key", "default"], 1);
        return orElse(dict.get(key!), () => or);
      });
    case "items":
    case "keys":
    case "values":
      return method(name, (args) => {
        match(name, args, [], 0);
        return new DictView(dict, name);
      });
    case "copy":
      return method(name, () => dict.copy());
    case "fromkeys":
      return method(name, (args) => {
        const [keys, value = null] = match(name, args, ["iterable", "value"], 1);
        if (!(keys instanceof List || keys instanceof Tuple)) throw typeError("fromkeys: a list is required");
        return Dict.of(keys.items.map((key) => [key, value] as const));
      });
    default:
      return undefined;
  }
}

function sequenceAttribute(value: List | Tuple, name: string): Value | undefined {
  if (value instanceof Tuple) {
    const at = value.names?.indexOf(name) ?? -1;
    if (at >= 0) return value.items[at];
  }
  switch (name) {
    case "count":
      return method(name, (args) => {
        const [item] = match(name, args, ["value"], 1);
        return value.items.filter((other) => equal(other, item!)).length;
      });
    case "index":
      return method(name, (args) => {
        const [item, start = 0] = match(name, args, ["value", "start", "stop"], 1);
        const at = value.items.findIndex((other, i) => i >= Number(start) && equal(other, item!));
        if (at < 0) throw valueError(`${plain(str(item!))} is not in ${typeName(value)}`);
        return at;
      });
    case "copy":
      return value instanceof List ? method(name, () => new List([...value.items])) : undefined;
    default:
      return undefined;
  }
}

function numberAttribute(value: Value, name: string): Value | undefined {
  if (!isNumber(value)) return undefined;
  const x = numeric(value);
  if (value instanceof Float) {
    return name === "is_integer" ? method(name, () => Number.isInteger(value.value)) : undefined;
  }
  if (name === "bit_length")
    return method(name, () => (BigInt(x) === 0n ? 0 : BigInt(x).toString(2).replace("-", "").length));
  return name === "real" || name === "numerator" ? x : name === "imag" ? 0 : name === "denominator" ? 1 : undefined;
}

/** `value[start:stop:step]`.  @throws TypeError */
export function getSlice(value: Value, start: Value, stop: Value, stride: Value): Value {
  if (value instanceof Undefined) throw value.fail();
  const bound = (part: Value): number | undefined => {
    if (part === null) return undefined;
    if (isInt(part) || typeof part === "boolean") return Number(part);
    if (part instanceof Undefined) throw part.fail();
    throw typeError("slice indices must be integers or None or have an __index__ method");
  };
  const from = bound(start);
  const to = bound(stop);
  const by = bound(stride) ?? 1;
  if (isStr(value)) return sliceOfStr(value, from, to, by);
  if (value instanceof List || value instanceof Tuple) {
    const items = sliceIndices(from, to, by, value.items.length).map((i) => value.items[i]!);
    return value instanceof List ? new List(items) : new Tuple(items);
  }
  if (value instanceof Range) {
    const items = sliceIndices(from, to, by, value.length).map((i) => value.at(i));
    return new List(items);
  }
  if (value instanceof Dict) throw typeError("unhashable type: 'slice'");
  throw typeError(`'${typeName(value)}' object is not subscriptable`);
}

/** Calls a value.  @throws TypeError, UndefinedError, SecurityError */
export function callValue(value: Value, args: Arguments): Value {
  if (value instanceof Undefined) throw value.fail();
  if (value instanceof Callable) return value.call(args);
  throw new TemplateFault("TypeError", `'${typeName(value)}' object is not callable`);
}
