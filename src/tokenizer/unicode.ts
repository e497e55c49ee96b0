/**
 * Text as one symbol per code point: what the pre-tokenizer patterns are matched on. ASCII stays itself, everything
 * else becomes its class, as llama.cpp does it, so `\s`, `\p{L}` ... are 256-entry tables and never depend on the
 * Unicode version or the `\s` of the JavaScript engine (which has U+FEFF and lacks U+0085).
 */
import { categoryRuns } from "./unicode-data.js";

/**
 * Classes of code points from U+0080. White space shares the vertical tab, which `\s` contains and no pattern names.
 */
export const symbols = {
  whitespace: 0x0b,
  /** Control, format, private, surrogate, unassigned, and separators that are not white space. */
  other: 0xd0,
  number: 0xd1,
  letter: 0xd2,
  punctuation: 0xd3,
  mark: 0xd4,
  symbol: 0xd5,
  /** Letters of the CJK blocks below: letters too, and what `\p{Han}` means. */
  han: 0xd6,
  /** Unassigned code points of those blocks. */
  hanOther: 0xd7,
} as const;

const whiteSpace = [0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000]; // and U+2000-U+200A
const hanBlocks = [
  [0x3400, 0x4dbf],
  [0x4e00, 0x9fff],
  [0xf900, 0xfaff],
  [0x20000, 0x2a6df],
  [0x2a700, 0x2ebef],
  [0x2f800, 0x2fa1f],
] as const;

const classOf: Record<string, number> = {
  L: symbols.letter,
  M: symbols.mark,
  N: symbols.number,
  P: symbols.punctuation,
  S: symbols.symbol,
};

const pageBits = 7;
const pageSize = 1 << pageBits;

/** Two-stage table: equal pages are stored once (about 40 KB instead of 1.1 MB). */
let pageOf: Uint16Array | undefined;
let pages = new Uint8Array(0);
/** First and behind the last of each run of unassigned code points, in order. */
let unassigned: readonly number[] = [];

function buildTable(): Uint16Array {
  const flat = new Uint8Array(0x110000);
  let at = 0;
  let length = 0;
  const gaps: number[] = [];
  for (let i = 0; i < categoryRuns.length; i++) {
    const char = categoryRuns.charCodeAt(i);
    if (char >= 0x41 && char <= 0x5a) {
      const end = at + Math.max(length, 1);
      flat.fill(classOf[categoryRuns[i]!] ?? symbols.other, at, end);
      if (categoryRuns[i] === "U") gaps.push(at, end);
      at = end;
      length = 0;
    } else length = 36 * length + (char < 0x41 ? char - 0x30 : char - 0x61 + 10);
  }
  unassigned = gaps;
  for (let c = 0x2000; c <= 0x200a; c++) flat[c] = symbols.whitespace;
  for (const c of whiteSpace) flat[c] = symbols.whitespace;
  for (const [first, last] of hanBlocks) {
    for (let c = first; c <= last; c++) {
      if (flat[c] === symbols.letter) flat[c] = symbols.han;
      else if (flat[c] === symbols.other) flat[c] = symbols.hanOther;
    }
  }
  for (let c = 0; c < 0x80; c++) flat[c] = c;

  const index = new Uint16Array(0x110000 / pageSize);
  const known = new Map<string, number>();
  const text = Buffer.from(flat.buffer);
  const kept: Uint8Array[] = [];
  for (let p = 0; p < index.length; p++) {
    const key = text.toString("latin1", p * pageSize, (p + 1) * pageSize);
    let number = known.get(key);
    if (number === undefined) {
      number = kept.length;
      known.set(key, number);
      kept.push(flat.subarray(p * pageSize, (p + 1) * pageSize));
    }
    index[p] = number;
  }
  pages = new Uint8Array(kept.length * pageSize);
  kept.forEach((page, i) => {
    pages.set(page, i * pageSize);
  });
  return index;
}

/** Symbol of one code point. */
export function symbolOf(codePoint: number): number {
  if (codePoint < 0x80) return codePoint;
  pageOf ??= buildTable();
  return pages[(pageOf[codePoint >> pageBits]! << pageBits) | (codePoint & (pageSize - 1))]!;
}

/** False for a code point that Unicode 15.1 leaves unassigned. */
export function isAssigned(codePoint: number): boolean {
  const symbol = symbolOf(codePoint);
  if (symbol !== symbols.other && symbol !== symbols.hanOther) return true;
  // Last run that begins at or before it.
  let [low, high] = [0, unassigned.length / 2];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (unassigned[2 * middle]! <= codePoint) low = middle + 1;
    else high = middle;
  }
  return low === 0 || codePoint >= unassigned[2 * low - 1]!;
}

/** A piece of text, one entry per code point. */
export interface CodePoints {
  readonly length: number;
  /** @shape [length] */
  readonly points: Uint32Array;
  /** @shape [length] */
  readonly symbols: Uint8Array;
}

/** Decodes well-formed UTF-8 (what `Buffer.from(string)` makes). */
export function codePoints(utf8: Uint8Array): CodePoints {
  const points = new Uint32Array(utf8.length);
  const out = new Uint8Array(utf8.length);
  let n = 0;
  for (let i = 0; i < utf8.length; ) {
    const lead = utf8[i]!;
    if (lead < 0x80) {
      points[n] = lead;
      out[n++] = lead;
      i++;
      continue;
    }
    const cp = decodeAt(utf8, i);
    points[n] = cp;
    out[n++] = symbolOf(cp);
    i += utf8Length(lead);
  }
  return { length: n, points, symbols: out };
}

/** The code point of more than one byte that begins at `at` of well-formed UTF-8. */
export function decodeAt(utf8: Uint8Array, at: number): number {
  const lead = utf8[at]!;
  const size = utf8Length(lead);
  let cp = size === 2 ? lead & 0x1f : size === 3 ? lead & 0x0f : lead & 0x07;
  for (let k = 1; k < size; k++) cp = (cp << 6) | (utf8[at + k]! & 0x3f);
  return cp;
}

/** Writes a code point from U+0080 as UTF-8. @returns the place behind it */
export function encodeInto(codePoint: number, out: Uint8Array, at: number): number {
  const size = encodedLength(codePoint);
  for (let k = size - 1, rest = codePoint; k > 0; k--, rest >>= 6) out[at + k] = 0x80 | (rest & 0x3f);
  out[at] = (size === 2 ? 0xc0 : size === 3 ? 0xe0 : 0xf0) | (codePoint >> (6 * (size - 1)));
  return at + size;
}

/** Bytes of the UTF-8 sequence that begins with `lead`; 1 for a stray continuation byte. */
export function utf8Length(lead: number): number {
  return lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/** UTF-8 bytes of one code point. */
export function encodedLength(codePoint: number): number {
  return codePoint < 0x80 ? 1 : codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4;
}
