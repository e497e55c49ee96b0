/** Positions in strings as Python counts them, by code points; and Python's slices. */
import { valueError } from "./errors.js";
import { makeItems, scan, walk } from "./limits.js";
import { plain, type Str, StrBuilder, sliceStr } from "./text.js";
import { pointCount } from "./values.js";

const surrogates = /[\ud800-\udfff]/;

/** UTF-16 unit at which code point `point` begins; the end for one at or behind it. */
export function unitOf(s: string, point: number): number {
  scan(s.length);
  if (!surrogates.test(s)) return Math.min(point, s.length);
  walk(point);
  let unit = 0;
  for (let i = 0; i < point && unit < s.length; i++) unit += s.codePointAt(unit)! > 0xffff ? 2 : 1;
  return unit;
}

export function pointOf(s: string, unit: number): number {
  return surrogates.test(s) ? pointCount(s.slice(0, unit)) : unit;
}

/** The part [start, end) by code points, counting from the end where negative, as s[start:end]. */
export function part(s: Str, start: number | undefined, end: number | undefined): Str {
  const value = plain(s);
  const [from, to] = clampRange(start, end, pointCount(value));
  return to <= from ? "" : sliceStr(s, unitOf(value, from), unitOf(value, to));
}

export function clampRange(start: number | undefined, end: number | undefined, length: number): [number, number] {
  const clamp = (at: number): number => (at < 0 ? Math.max(0, at + length) : Math.min(at, length));
  return [clamp(start ?? 0), clamp(end ?? length)];
}

/** Indices that a slice with a step selects, in order. */
export function sliceIndices(
  start: number | undefined,
  stop: number | undefined,
  stride: number,
  length: number,
): number[] {
  if (stride === 0) throw valueError("slice step cannot be zero");
  const low = stride < 0 ? -1 : 0;
  const high = stride < 0 ? length - 1 : length;
  const clamp = (at: number | undefined, or: number): number =>
    at === undefined ? or : at < 0 ? Math.max(at + length, low) : Math.min(at, high);
  const from = clamp(start, stride < 0 ? high : low);
  const to = clamp(stop, stride < 0 ? low : high);
  const out: number[] = [];
  makeItems(Math.max(0, Math.ceil((to - from) / stride)));
  for (let i = from; stride < 0 ? i > to : i < to; i += stride) out.push(i);
  return out;
}

/** s[start:stop:step] */
export function sliceOfStr(s: Str, start: number | undefined, stop: number | undefined, stride: number): Str {
  if (stride === 1) return part(s, start, stop);
  const value = plain(s);
  walk(value.length);
  const units: number[] = [];
  let unit = 0;
  for (const point of value) {
    units.push(unit);
    unit += point.length;
  }
  const out = new StrBuilder();
  for (const i of sliceIndices(start, stop, stride, units.length)) {
    const from = units[i]!;
    out.add(sliceStr(s, from, units[i + 1] ?? value.length));
  }
  return out.finish();
}
