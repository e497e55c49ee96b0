/**
 * Strings of a template that know their origin: what a person wrote is told apart from what the template wrote, through
 * every operation, so that control tokens can be recognised in the template's own text only.
 *
 * A string that is wholly the template's is a plain JavaScript string, everything else a `Text`. Positions are UTF-16
 * units here; code points, as Python counts, are the business of `strings.ts`.
 */
import { join, make, step } from "./limits.js";

export class Text {
  readonly value: string;
  /** The ranges a person wrote: pairs [start, end), ascending, neither empty nor touching. */
  readonly spans: readonly number[];
  /** HTML-escaped already (Python's Markup). */
  readonly markup: boolean;

  constructor(value: string, spans: readonly number[], markup: boolean) {
    this.value = value;
    this.spans = spans;
    this.markup = markup;
  }
}

export type Str = string | Text;

const none: readonly number[] = [];

export const isStr = (value: unknown): value is Str => typeof value === "string" || value instanceof Text;
export const plain = (s: Str): string => (typeof s === "string" ? s : s.value);
export const spansOf = (s: Str): readonly number[] => (typeof s === "string" ? none : s.spans);
export const isMarkup = (s: unknown): boolean => s instanceof Text && s.markup;

export function makeStr(value: string, spans: readonly number[], markup = false): Str {
  return spans.length === 0 && !markup ? value : new Text(value, spans, markup);
}

/** Text that a person wrote. */
export const personStr = (value: string): Str => (value === "" ? "" : new Text(value, [0, value.length], false));

/** The same text, marked as escaped or not. */
export const asMarkup = (s: Str, markup: boolean): Str => makeStr(plain(s), spansOf(s), markup);

/** Collects parts; equal origins that touch become one span. */
export class StrBuilder {
  private readonly parts: string[] = [];
  private readonly spans: number[] = [];
  private at = 0;

  get length(): number {
    return this.at;
  }

  add(s: Str): this {
    const value = plain(s);
    if (value === "") return this;
    if (typeof s !== "string") {
      step(s.spans.length);
      for (let i = 0; i < s.spans.length; i += 2) this.span(this.at + s.spans[i]!, this.at + s.spans[i + 1]!);
    }
    this.parts.push(value);
    this.at += value.length;
    return this;
  }

  /** Adds text of the origin that the unit at `index` of `s` has. */
  addAs(value: string, s: Str, index: number): this {
    if (value === "") return this;
    if (isPersons(s, index)) this.span(this.at, this.at + value.length);
    this.parts.push(value);
    this.at += value.length;
    return this;
  }

  finish(markup = false): Str {
    join(this.at);
    return makeStr(this.parts.join(""), this.spans, markup);
  }

  private span(start: number, end: number): void {
    const { spans } = this;
    if (spans.length > 0 && spans[spans.length - 1] === start) spans[spans.length - 1] = end;
    else spans.push(start, end);
  }
}

export function isPersons(s: Str, index: number): boolean {
  if (typeof s === "string") return false;
  const { spans } = s;
  // The last span that starts at or before the index.
  let low = 0;
  let high = spans.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[2 * middle]! <= index) low = middle + 1;
    else high = middle;
  }
  return low > 0 && index < spans[2 * low - 1]!;
}

export function concat(parts: readonly Str[], markup = false): Str {
  const builder = new StrBuilder();
  for (const part of parts) builder.add(part);
  return builder.finish(markup);
}

/** Units [from, to) of a string. */
export function sliceStr(s: Str, from: number, to: number = plain(s).length): Str {
  if (typeof s === "string") return s.slice(from, to);
  if (from <= 0 && to >= s.value.length) return s;
  const spans: number[] = [];
  for (let i = 0; i < s.spans.length; i += 2) {
    const start = Math.max(s.spans[i]!, from);
    const end = Math.min(s.spans[i + 1]!, to);
    if (start < end) spans.push(start - from, end - from);
    if (s.spans[i]! >= to) break;
  }
  step(1 + (s.spans.length >> 3));
  return makeStr(s.value.slice(from, to), spans, s.markup);
}

/** Each code point replaced by a text of the same origin. */
export function mapPoints(s: Str, replace: (point: string, index: number) => string): Str {
  const value = plain(s);
  make(value.length);
  if (typeof s === "string") {
    const out: string[] = [];
    let index = 0;
    for (const point of value) {
      out.push(replace(point, index));
      index += point.length;
    }
    return out.join("");
  }
  const builder = new StrBuilder();
  let index = 0;
  for (const point of value) {
    builder.addAs(replace(point, index), s, index);
    index += point.length;
  }
  return builder.finish(s.markup);
}

/**
 * `value` is what an operation of the host made of `s`. Where it kept the length, origins stay where they were; else
 * the text is compared code point by code point through `replace`.
 */
export function mapWhole(s: Str, value: string, replace: (point: string, index: number) => string): Str {
  const before = plain(s);
  make(value.length);
  if (typeof s === "string") return value;
  if (value.length === before.length) return makeStr(value, s.spans, s.markup);
  return mapPoints(s, replace);
}

export function repeatStr(s: Str, count: number): Str {
  const times = plain(s) === "" ? 0 : Math.max(0, count);
  make(plain(s).length * times);
  if (typeof s === "string") return s.repeat(times);
  const builder = new StrBuilder();
  for (let i = 0; i < times; i++) builder.add(s);
  return builder.finish(s.markup);
}

/** A part of a text with one origin. */
export interface Origin {
  readonly text: string;
  /** A person wrote it. */
  readonly user: boolean;
}

/** The text in parts of one origin each, in order. */
export function originsOf(s: Str): Origin[] {
  const value = plain(s);
  const out: Origin[] = [];
  let at = 0;
  const put = (to: number, user: boolean): void => {
    if (to > at) out.push({ text: value.slice(at, to), user });
    at = to;
  };
  const spans = spansOf(s);
  for (let i = 0; i < spans.length; i += 2) {
    put(spans[i]!, false);
    put(spans[i + 1]!, true);
  }
  put(value.length, false);
  return out;
}
