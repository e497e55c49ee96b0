/** Arithmetic of Python's numbers, and floats in the decimal forms Python prints. */
import { TemplateFault, typeError } from "./errors.js";
import { maxIntegerBits, step } from "./limits.js";
import { Float, type Int, int, isNumber, numeric, typeName, Undefined, type Value } from "./values.js";

export type NumberOperator = "+" | "-" | "*" | "/" | "//" | "%" | "**";

/** @throws TypeError for operands that are no numbers, ZeroDivisionError, UndefinedError */
export function calculate(operator: NumberOperator, a: Value, b: Value): Int | Float {
  if (a instanceof Undefined) throw a.fail();
  if (b instanceof Undefined) throw b.fail();
  if (!isNumber(a) || !isNumber(b)) {
    const name = operator === "**" ? "** or pow()" : operator;
    throw typeError(`unsupported operand type(s) for ${name}: '${typeName(a)}' and '${typeName(b)}'`);
  }
  const x = numeric(a);
  const y = numeric(b);
  if (a instanceof Float || b instanceof Float) return new Float(floats(operator, Number(x), Number(y)));
  return integers(operator, x, y);
}

/** The remainder has the divisor's sign. */
function modulo(x: number, y: number): number {
  const rest = x % y;
  return rest !== 0 && rest < 0 !== y < 0 ? rest + y : rest;
}

function floats(operator: NumberOperator, x: number, y: number): number {
  switch (operator) {
    case "+":
      return x + y;
    case "-":
      return x - y;
    case "*":
      return x * y;
    case "/":
      if (y === 0) throw new TemplateFault("ZeroDivisionError", "float division by zero");
      return x / y;
    case "//":
      if (y === 0) throw new TemplateFault("ZeroDivisionError", "float floor division by zero");
      return Math.floor(x / y);
    case "%": {
      if (y === 0) throw new TemplateFault("ZeroDivisionError", "float modulo");
      return modulo(x, y);
    }
    case "**":
      return x ** y;
  }
}

function integers(operator: NumberOperator, x: number | bigint, y: number | bigint): Int | Float {
  if (operator === "/") {
    if (Number(y) === 0) throw new TemplateFault("ZeroDivisionError", "division by zero");
    return new Float(Number(x) / Number(y));
  }
  if (typeof x === "number" && typeof y === "number") {
    const exact = small(operator, x, y);
    if (exact !== undefined && Number.isSafeInteger(exact)) return exact === 0 ? 0 : exact;
  }
  return large(operator, BigInt(x), BigInt(y));
}

/** Undefined where doubles may not be exact. */
function small(operator: NumberOperator, x: number, y: number): number | undefined {
  switch (operator) {
    case "+":
      return x + y;
    case "-":
      return x - y;
    case "*":
      return x * y;
    case "//":
      return y === 0 ? undefined : Math.floor(x / y);
    case "%": {
      if (y === 0) return undefined;
      return modulo(x, y);
    }
    default:
      return undefined;
  }
}

function large(operator: NumberOperator, x: bigint, y: bigint): Int | Float {
  switch (operator) {
    case "+":
      return bounded(x + y);
    case "-":
      return bounded(x - y);
    case "*":
      return bounded(x * y);
    case "//":
    case "%": {
      if (y === 0n) throw new TemplateFault("ZeroDivisionError", "integer division or modulo by zero");
      const rest = ((x % y) + y) % y;
      return operator === "%" ? int(rest) : int((x - rest) / y);
    }
    default: {
      if (y < 0n) return new Float(Number(x) ** Number(y));
      const bits = BigInt(x.toString(2).length) * y;
      if (x !== 0n && x !== 1n && x !== -1n && bits > BigInt(maxIntegerBits)) throw tooLarge();
      step(Number(bits) >> 5);
      return bounded(x ** y);
    }
  }
}

function bounded(value: bigint): Int {
  const exact = int(value);
  if (typeof exact === "bigint" && exact.toString(16).length * 4 > maxIntegerBits) throw tooLarge();
  return exact;
}

const tooLarge = (): TemplateFault =>
  new TemplateFault("LimitError", `the template makes an integer of more than ${maxIntegerBits} bits`, "memory");

/** As repr(): the shortest digits that give the same float. */
export function floatRepr(x: number): string {
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  if (x === 0) return Object.is(x, -0) ? "-0.0" : "0.0";
  const [mantissa, power] = Math.abs(x).toExponential().split("e") as [string, string];
  const digits = mantissa.replace(".", "");
  const exponent = Number(power);
  const sign = x < 0 ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    const rest = digits.length > 1 ? `.${digits.slice(1)}` : "";
    return `${sign}${digits[0]}${rest}e${exponentText(exponent)}`;
  }
  if (exponent < 0) return `${sign}0.${"0".repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1).padEnd(exponent + 1, "0");
  return `${sign}${whole}.${digits.slice(exponent + 1) || "0"}`;
}

const exponentText = (exponent: number): string =>
  `${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;

/** |x| = digits / 10^scale, exactly: a double is a whole number of powers of two. */
function exactDecimal(x: number): { digits: bigint; scale: number } {
  let mantissa = Math.abs(x);
  let twos = 0;
  while (!Number.isInteger(mantissa)) {
    mantissa *= 2;
    twos++;
  }
  step(twos);
  return { digits: BigInt(mantissa) * 5n ** BigInt(twos), scale: twos };
}

/** digits / 10^scale rounded to `places` decimals, ties to even, as an integer of 10^-places. */
function roundDecimal(digits: bigint, scale: number, places: number): bigint {
  step(1 + (Math.abs(places) >> 2));
  if (places >= scale) return digits * 10n ** BigInt(places - scale);
  const unit = 10n ** BigInt(scale - places);
  const quotient = digits / unit;
  const twice = 2n * (digits % unit);
  return twice > unit || (twice === unit && quotient % 2n === 1n) ? quotient + 1n : quotient;
}

/** |x| with `places` decimals, correctly rounded (`%.{places}f`). */
export function fixed(x: number, places: number): string {
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "nan" : "inf";
  const { digits, scale } = exactDecimal(x);
  const text = roundDecimal(digits, scale, places)
    .toString()
    .padStart(places + 1, "0");
  return places === 0 ? text : `${text.slice(0, -places)}.${text.slice(-places)}`;
}

/** |x| in scientific form with `places` decimals (`%.{places}e`): digits without a point, and the exponent. */
function scientific(x: number, places: number): { digits: string; exponent: number } {
  if (!Number.isFinite(x)) throw new TemplateFault("ValueError", "infinity and NaN have no digits");
  if (x === 0) return { digits: "0".repeat(places + 1), exponent: 0 };
  const { digits, scale } = exactDecimal(x);
  let exponent = digits.toString().length - 1 - scale;
  const decimals = places - exponent;
  let rounded = roundDecimal(digits, decimals < 0 ? scale - decimals : scale, Math.max(0, decimals)).toString();
  if (rounded.length > places + 1) {
    rounded = rounded.slice(0, places + 1);
    exponent++;
  }
  return { digits: rounded.padEnd(places + 1, "0"), exponent };
}

export function exponential(x: number, places: number): string {
  const { digits, exponent } = scientific(x, places);
  return `${digits[0]}${places === 0 ? "" : `.${digits.slice(1)}`}e${exponentText(exponent)}`;
}

/** `%.{precision}g`: the shorter of both forms. `keepZeros` is the flag #. */
export function general(x: number, precision: number, keepZeros = false): string {
  const significant = Math.max(1, precision);
  const { digits, exponent } = scientific(x, significant - 1);
  const trim = (text: string): string => (keepZeros || !text.includes(".") ? text : text.replace(/\.?0+$/, ""));
  if (exponent < -4 || exponent >= significant) {
    const rest = digits.length > 1 ? `.${digits.slice(1)}` : "";
    return `${trim(`${digits[0]}${rest}`)}e${exponentText(exponent)}`;
  }
  return trim(fixed(x, Math.max(0, significant - 1 - exponent)));
}

/** round(x, places): half to even on the exact value. */
export function roundFloat(x: number, places: number): number {
  if (!Number.isFinite(x)) return x;
  if (places > 330) return x;
  if (places >= 0) return Math.sign(x) < 0 ? -Number(fixed(x, places)) : Number(fixed(x, places));
  if (places < -330) return x * 0;
  const { digits, scale } = exactDecimal(x);
  const rounded = roundDecimal(digits, scale - places, 0);
  return Math.sign(x) * Number(`${rounded}e${-places}`);
}
