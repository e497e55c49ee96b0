/** The tests of Jinja2 3.1: what may follow `is`. */
import { match, wantInt } from "./arguments.js";
import { contains, equal, type Order, ordered } from "./compare.js";
import { filters } from "./filters.js";
import { calculate } from "./numbers.js";
import { str } from "./repr.js";
import { isLower, isUpper } from "./strings.js";
import { isMarkup, isStr, plain } from "./text.js";
import {
  type Arguments,
  Callable,
  Dict,
  Float,
  isInt,
  isIterable,
  isNumber,
  List,
  Range,
  Tuple,
  Undefined,
  type Value,
} from "./values.js";

export type Test = (value: Value, args: Arguments) => boolean;

const bare =
  (holds: (value: Value) => boolean): Test =>
  (value, args) => {
    match("test", args, [], 0);
    return holds(value);
  };

const comparing =
  (order: Order): Test =>
  (value, args) =>
    ordered(value, match("test", args, ["other"], 1)[0]!, order);

const isEqual: Test = (value, args) => equal(value, match("eq", args, ["other"], 1)[0]!);
const modulo = (value: Value, by: number): number => {
  if (value instanceof Undefined) throw value.fail();
  const rest = calculate("%", value, by);
  return rest instanceof Float ? rest.value : Number(rest);
};

const sameAs: Test = (value, args) => {
  const [other] = match("sameas", args, ["other"], 1);
  if (isStr(value)) return isStr(other!) && plain(value) === plain(other);
  return value === other;
};

const isSequence = (value: Value): boolean =>
  isStr(value) ||
  value instanceof List ||
  value instanceof Tuple ||
  value instanceof Dict ||
  value instanceof Range ||
  value instanceof Undefined;

const greater = comparing(">");
const less = comparing("<");

export const tests: ReadonlyMap<string, Test> = new Map<string, Test>([
  ["boolean", bare((value) => typeof value === "boolean")],
  ["callable", bare((value) => value instanceof Callable)],
  ["defined", bare((value) => !(value instanceof Undefined))],
  [
    "divisibleby",
    (value, args) => modulo(value, wantInt(match("divisibleby", args, ["num"], 1)[0]!, "divisibleby")) === 0,
  ],
  ["eq", isEqual],
  ["==", isEqual],
  ["equalto", isEqual],
  ["escaped", bare(isMarkup)],
  ["even", bare((value) => modulo(value, 2) === 0)],
  ["false", bare((value) => value === false)],
  ["filter", bare((value) => filters.has(plain(str(value))))],
  ["float", bare((value) => value instanceof Float)],
  ["ge", comparing(">=")],
  [">=", comparing(">=")],
  ["greaterthan", greater],
  ["gt", greater],
  [">", greater],
  ["in", (value, args) => contains(match("in", args, ["seq"], 1)[0]!, value)],
  ["integer", bare(isInt)],
  ["iterable", bare(isIterable)],
  ["le", comparing("<=")],
  ["<=", comparing("<=")],
  ["lessthan", less],
  ["lower", bare((value) => isLower(str(value)))],
  ["lt", less],
  ["<", less],
  ["mapping", bare((value) => value instanceof Dict)],
  ["ne", (value, args) => !isEqual(value, args)],
  ["!=", (value, args) => !isEqual(value, args)],
  ["none", bare((value) => value === null)],
  ["number", bare(isNumber)],
  ["odd", bare((value) => modulo(value, 2) === 1)],
  ["sameas", sameAs],
  ["sequence", bare(isSequence)],
  ["string", bare(isStr)],
  ["test", bare((value) => isTest(plain(str(value))))],
  ["true", bare((value) => value === true)],
  ["undefined", bare((value) => value instanceof Undefined)],
  ["upper", bare((value) => isUpper(str(value)))],
]);

function isTest(name: string): boolean {
  return tests.has(name);
}
