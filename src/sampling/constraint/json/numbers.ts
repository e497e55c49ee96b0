/**
 * Numbers of JSON as terms over their text. Bounded: 16 digits before the point and 16 behind it, as models without a
 * bound write digits for ever. A negative zero is left out. An exponent is written only where any number will do.
 */
import type { Machine, Term, Terms } from "../regex/terms.js";

/** A set of numbers. */
export interface NumberSet {
  /** Texts without exponent. */
  readonly plain: Term;
  /** Whether every number is in it: then exponents are allowed, too. */
  readonly every: boolean;
}

const mostDigits = 16;

/** A decimal number taken apart: digits before and behind the point, no needless zeros. */
export interface Decimal {
  readonly negative: boolean;
  readonly whole: string;
  readonly fraction: string;
}

/** @returns undefined for one with so many digits that no text we write reaches it exactly */
export function decimalOf(value: number): Decimal | undefined {
  const match = /^(-?)(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(value));
  if (match === null) return undefined;
  const [, sign, head = "", tail = "", exponent = "0"] = match;
  const shift = Number(exponent);
  if (Math.abs(shift) > 400) return undefined;
  const digits = head + tail;
  const point = head.length + shift;
  const padded = point <= 0 ? "0".repeat(1 - point) + digits : digits.padEnd(point, "0");
  const at = point <= 0 ? 1 : point;
  const whole = padded.slice(0, at).replace(/^0+(?=\d)/, "");
  const fraction = padded.slice(at).replace(/0+$/, "");
  return { negative: sign === "-" && /[1-9]/.test(digits), whole, fraction };
}

export class Numbers {
  private readonly terms: Terms;
  private readonly digit: Term;
  private readonly digits: Term;
  /** Any fraction with its point, or none. */
  private readonly anyFraction: Term;
  /** All numbers without exponent. */
  readonly all: Term;
  /** Those whose value is whole, 5.0 among them. */
  readonly whole: Term;
  /** Those written without a fraction. */
  readonly wholeText: Term;
  /** Any number, exponents included. */
  readonly withExponent: Term;

  constructor(terms: Terms) {
    this.terms = terms;
    this.digit = this.range(0, 9);
    this.digits = terms.repeat(this.digit, 0, Number.POSITIVE_INFINITY);
    const fractionDigits = terms.repeat(this.digit, 1, mostDigits);
    this.anyFraction = terms.optional(terms.concat(this.text("."), fractionDigits));
    const natural = terms.concat(this.range(1, 9), terms.repeat(this.digit, 0, mostDigits - 1));
    const zeros = terms.concat(this.text("."), terms.repeat(this.text("0"), 1, mostDigits));
    const notZero = terms.minus(fractionDigits, terms.repeat(this.text("0"), 0, Number.POSITIVE_INFINITY));
    const zeroAndMore = terms.sequence([this.text("0."), notZero]);
    const minus = terms.optional(this.text("-"));
    this.wholeText = terms.alt([this.text("0"), terms.concat(minus, natural)]);
    this.whole = terms.concat(this.wholeText, terms.optional(zeros));
    this.all = terms.alt([
      this.whole,
      zeroAndMore,
      terms.sequence([this.text("-"), zeroAndMore]),
      terms.sequence([minus, natural, this.anyFraction]),
    ]);
    const sign = terms.optional(terms.class([0x2b, 0x2b, 0x2d, 0x2d]));
    const exponent = terms.sequence([terms.class([0x45, 0x45, 0x65, 0x65]), sign, terms.repeat(this.digit, 1, 3)]);
    this.withExponent = terms.concat(this.all, terms.optional(exponent));
  }

  /** The number's value, however many zeros end its fraction. */
  exactly(value: Decimal): Term {
    const { terms } = this;
    const sign = this.text(value.negative ? "-" : "");
    const zeros = terms.repeat(this.text("0"), 0, Number.POSITIVE_INFINITY);
    const whole = value.fraction === "";
    const tail = whole ? terms.optional(terms.concat(this.text("."), terms.concat(this.text("0"), zeros))) : zeros;
    const head = whole ? value.whole : `${value.whole}.${value.fraction}`;
    return terms.and([this.all, terms.sequence([sign, this.text(head), tail])]);
  }

  /** Numbers at least, or above, a bound. */
  from(bound: Decimal, exclusive: boolean): Term {
    const { terms } = this;
    const negatives = terms.concat(this.text("-"), terms.all);
    if (!bound.negative) {
      return terms.and([this.all, terms.not(negatives), this.magnitude(bound, exclusive)]);
    }
    // Above -5: magnitudes below 5, and everything that is not negative.
    const larger = terms.concat(this.text("-"), this.magnitude(bound, !exclusive));
    return terms.and([this.all, terms.not(larger)]);
  }

  /** Numbers at most, or below, a bound. */
  upTo(bound: Decimal, exclusive: boolean): Term {
    return this.terms.and([this.all, this.terms.not(this.from(bound, !exclusive))]);
  }

  /** Texts without sign whose value is at least, or above, the bound's. */
  private magnitude({ whole, fraction }: Decimal, exclusive: boolean): Term {
    const { terms } = this;
    const longer = terms.sequence([
      this.range(1, 9),
      terms.repeat(this.digit, whole.length, mostDigits),
      this.anyFraction,
    ]);
    const above = terms.concat(this.above(whole), this.anyFraction);
    const sameFraction = this.fractionFrom(fraction, exclusive);
    return terms.alt([longer, above, terms.concat(this.text(whole), sameFraction)]);
  }

  /** Texts of as many digits that are greater. */
  private above(digits: string): Term {
    const { terms } = this;
    const ways = Array.from(digits, (d, i) =>
      d === "9"
        ? terms.empty
        : terms.sequence([
            this.text(digits.slice(0, i)),
            this.range(Number(d) + 1, 9),
            terms.repeat(this.digit, digits.length - 1 - i, digits.length - 1 - i),
          ]),
    );
    return terms.alt(ways);
  }

  /** Fractions with their point (or none at all, when that is enough) at least, or above, `fraction`. */
  private fractionFrom(fraction: string, exclusive: boolean): Term {
    const { terms, digits } = this;
    const ways = Array.from(fraction, (d, i) =>
      d === "9"
        ? terms.empty
        : terms.sequence([this.text(`.${fraction.slice(0, i)}`), this.range(Number(d) + 1, 9), digits]),
    );
    const zeros = terms.repeat(this.text("0"), 0, Number.POSITIVE_INFINITY);
    const notZeros = terms.minus(digits, zeros);
    const point = this.text(fraction === "" ? "." : `.${fraction}`);
    if (exclusive) ways.push(terms.concat(point, notZeros));
    else if (fraction === "") ways.push(this.anyFraction);
    else ways.push(terms.concat(point, digits));
    return terms.alt(ways);
  }

  /** Multiples of a number. @returns undefined when it has too many digits to count with */
  multiples(of: Decimal): Term | undefined {
    const step = Number(of.whole + of.fraction);
    if (!(step > 0 && step < 2 ** 45)) return undefined;
    const start = this.terms.machine(new Multiples(step, of.fraction.length, 0, -1));
    return this.terms.and([this.all, start]);
  }

  private range(from: number, to: number): Term {
    return this.terms.class([0x30 + from, 0x30 + to]);
  }

  private text(text: string): Term {
    return this.terms.literal(text);
  }
}

/** Reads a decimal number and knows its remainder: value * 10^places modulo `step`. */
class Multiples implements Machine {
  readonly key: string;
  readonly accepts: boolean;
  readonly borders = [0x2d, 0x2e, 0x2f, ...Array.from({ length: 11 }, (_, d) => 0x30 + d)];
  private readonly step: number;
  private readonly places: number;
  private readonly remainder: number;
  /** Digits behind the point so far; -1 = before it. */
  private readonly behind: number;

  constructor(step: number, places: number, remainder: number, behind: number) {
    this.step = step;
    this.places = places;
    this.remainder = remainder;
    this.behind = behind;
    this.key = `multiples ${step} ${places} ${remainder} ${behind}`;
    let left = remainder;
    for (let i = Math.max(0, behind); i < places; i++) left = (left * 10) % step;
    this.accepts = left === 0;
  }

  next(point: number): Machine | undefined {
    const { step, places, remainder, behind } = this;
    if (point === 0x2d) return this;
    if (point === 0x2e) return behind < 0 ? new Multiples(step, places, remainder, 0) : undefined;
    const digit = point - 0x30;
    if (digit < 0 || digit > 9) return undefined;
    // Behind the last place that counts only zeros are left.
    if (behind === places) return digit === 0 ? this : undefined;
    return new Multiples(step, places, (remainder * 10 + digit) % step, behind < 0 ? -1 : behind + 1);
  }
}
