/**
 * Encoders of the types with code books, fitted by least squares without an importance matrix: for random models and
 * tests, where what matters is that values survive about as well as ggml's encoders keep them.
 */

import type { GridName } from "../formats/codebook-grids.js";
import { alphabets, evenSigns, gridOf } from "../formats/codebooks.js";
import { f16Table, toF16, writeU16 } from "../formats/float16.js";
import type { EncodeBlock } from "./quantize-32.js";

const { abs, max, min, round } = Math;
const decoded = (bits: number) => f16Table()[bits]!;

/** The nearest entry of a book for every combination of letters, found when it is first asked for. */
class Book {
  readonly values: number;
  readonly grid: Int8Array;
  readonly letters: readonly number[];
  readonly #found: Int16Array;

  constructor(name: GridName) {
    this.grid = gridOf(name);
    ({ letters: this.letters, values: this.values } = alphabets[name]);
    this.#found = new Int16Array(this.letters.length ** this.values).fill(-1);
  }

  /** For the values of `x` from `at` on, over `scale` and less `shift`; a scale of 0 makes all of them 0. */
  nearest(x: readonly number[], at: number, scale: number, shift: number): number {
    let key = 0;
    for (let k = 0; k < this.values; k++)
      key = key * this.letters.length + this.#letter((scale === 0 ? 0 : x[at + k]! / scale) - shift);
    if (this.#found[key]! < 0) this.#found[key] = this.#search(key);
    return this.#found[key]!;
  }

  #letter(v: number): number {
    const { letters } = this;
    let best = 0;
    for (let i = 1; i < letters.length; i++) if (abs(letters[i]! - v) < abs(letters[best]! - v)) best = i;
    return best;
  }

  /** @param key the letters as digits, the first the highest */
  #search(key: number): number {
    const { grid, letters, values } = this;
    const x: number[] = [];
    for (let k = 0, rest = key; k < values; k++, rest = Math.floor(rest / letters.length))
      x.unshift(letters[rest % letters.length]!);
    let best = 0;
    let error = Number.POSITIVE_INFINITY;
    for (let entry = 0; entry < grid.length / values; entry++) {
      let sum = 0;
      for (let k = 0; k < values; k++) sum += (x[k]! - grid[entry * values + k]!) ** 2;
      if (sum < error) [best, error] = [entry, sum];
    }
    return best;
  }
}

const books = new Map<GridName, Book>();
function bookOf(name: GridName): Book {
  const book = books.get(name) ?? new Book(name);
  books.set(name, book);
  return book;
}

/** Entries for consecutive values, and what least squares says of the scale. */
interface Entries {
  readonly indexes: readonly number[];
  readonly scale: number;
  /** The part of the sum of squares that the best scale keeps. */
  readonly kept: number;
}

/** Values over `scale` as entries, `shift` added to each. */
function entriesFor(book: Book, x: readonly number[], scale: number, shift: number): Entries {
  const indexes: number[] = [];
  let [sumVV, sumXV] = [0, 0];
  for (let at = 0; at < x.length; at += book.values) {
    const index = book.nearest(x, at, scale, shift);
    indexes.push(index);
    for (let k = 0; k < book.values; k++) {
      const value = book.grid[index * book.values + k]! + shift;
      sumVV += value * value;
      sumXV += x[at + k]! * value;
    }
  }
  return { indexes, scale: sumVV > 0 ? max(0, sumXV / sumVV) : 0, kept: sumXV > 0 ? sumXV ** 2 / sumVV : 0 };
}

/** The best of several starting scales, each of which puts the largest value near a letter. */
function fitEntries(book: Book, x: readonly number[], shift: number): Entries {
  const peak = max(...x.map(abs));
  let best: Entries = entriesFor(book, x, 0, shift);
  if (peak < 1e-30) return { ...best, scale: 0, kept: 0 };
  for (const letter of book.letters) {
    if (letter <= 0) continue;
    for (const stretch of [0.8, 0.9, 1, 1.1, 1.25]) {
      const found = entriesFor(book, x, peak / ((letter + shift) * stretch), shift);
      if (found.kept > best.kept * (1 + 1e-9)) best = found;
    }
  }
  return best;
}

/**
 * Magnitudes of 8 values and their signs; `even`: the least of them changes sides where the minus signs are odd in
 * number.
 */
function splitSigns(
  x: Float32Array,
  o: number,
  even: boolean,
): { readonly magnitudes: number[]; readonly signs: number } {
  const magnitudes = Array.from({ length: 8 }, (_, k) => abs(x[o + k]!));
  let signs = 0;
  for (let k = 0; k < 8; k++) if (x[o + k]! < 0) signs |= 1 << k;
  if (even && evenSigns(signs & 127) !== signs) {
    const least = magnitudes.indexOf(min(...magnitudes));
    signs ^= 1 << least;
    magnitudes[least] = -magnitudes[least]!;
  }
  return { magnitudes, signs };
}

interface Fitted {
  /** F16 of the super-block's scale. */
  readonly d: number;
  /** The stored scale s of each group, where 2 s + 1 is what counts. */
  readonly scales: readonly number[];
  /** Signs of 8 values each, and indexes of 8 or 4. */
  readonly signs: readonly number[];
  readonly indexes: readonly number[];
}

/** A super-block in groups of `n` values with scales d * unit * (2 s + 1), s below 16. */
function fitMagnitudes(x: Float32Array, o: number, name: GridName, n: number, unit: number, even: boolean): Fitted {
  const book = bookOf(name);
  const parts = Array.from({ length: 32 }, (_, t) => splitSigns(x, o + 8 * t, even));
  const groups = Array.from({ length: 256 / n }, (_, g) =>
    parts.slice((g * n) / 8, ((g + 1) * n) / 8).flatMap((part) => part.magnitudes),
  );
  const fits = groups.map((values) => fitEntries(book, values, 0).scale);
  const d = toF16(max(...fits) / (31 * unit));
  const step = decoded(d) * unit;
  const scales = fits.map((fit) => (step === 0 ? 0 : min(15, max(0, round((fit / step - 1) / 2)))));
  const indexes = groups.flatMap((values, g) => entriesFor(book, values, step * (2 * scales[g]! + 1), 0).indexes);
  return { d, scales, signs: parts.map((part) => part.signs), indexes };
}

/** Four times 7 sign bits and a scale: the words of IQ2_XXS and IQ3_XXS. */
function signWord({ signs, scales }: Fitted, g: number): number {
  return [0, 1, 2, 3].reduce((word, l) => word | ((signs[4 * g + l]! & 127) << (7 * l)), scales[g]! << 28) >>> 0;
}

function writeU32(b: Uint8Array, at: number, word: number): void {
  writeU16(b, at, word);
  writeU16(b, at + 2, word >>> 16);
}

export const encodeIq2Xxs: EncodeBlock = (x, o, b, at) => {
  const fitted = fitMagnitudes(x, o, "iq2xxs", 32, 0.125, true);
  writeU16(b, at, fitted.d);
  for (let g = 0; g < 8; g++) {
    b.set(fitted.indexes.slice(4 * g, 4 * g + 4), at + 2 + 8 * g);
    writeU32(b, at + 2 + 8 * g + 4, signWord(fitted, g));
  }
};

export const encodeIq2Xs: EncodeBlock = (x, o, b, at) => {
  const { d, scales, signs, indexes } = fitMagnitudes(x, o, "iq2xs", 16, 0.125, true);
  writeU16(b, at, d);
  for (const [t, index] of indexes.entries()) writeU16(b, at + 2 + 2 * t, index | ((signs[t]! & 127) << 9));
  for (const [p, s] of scales.entries()) b[at + 66 + (p >> 1)]! |= s << (4 * (p & 1));
};

export const encodeIq2S: EncodeBlock = (x, o, b, at) => {
  const { d, scales, signs, indexes } = fitMagnitudes(x, o, "iq2s", 16, 0.125, false);
  writeU16(b, at, d);
  for (const [t, index] of indexes.entries()) {
    b[at + 2 + t] = index & 255;
    b[at + 34 + t] = signs[t]!;
    b[at + 66 + (t >> 2)]! |= (index >> 8) << (2 * (t & 3));
  }
  for (const [p, s] of scales.entries()) b[at + 74 + (p >> 1)]! |= s << (4 * (p & 1));
};

export const encodeIq3Xxs: EncodeBlock = (x, o, b, at) => {
  const fitted = fitMagnitudes(x, o, "iq3xxs", 32, 0.25, true);
  writeU16(b, at, fitted.d);
  b.set(fitted.indexes, at + 2);
  for (let g = 0; g < 8; g++) writeU32(b, at + 66 + 4 * g, signWord(fitted, g));
};

export const encodeIq3S: EncodeBlock = (x, o, b, at) => {
  const { d, scales, signs, indexes } = fitMagnitudes(x, o, "iq3s", 32, 1, false);
  writeU16(b, at, d);
  for (const [u, index] of indexes.entries()) {
    b[at + 2 + u] = index & 255;
    b[at + 66 + (u >> 3)]! |= (index >> 8) << (u & 7);
  }
  b.set(signs, at + 74);
  for (const [g, s] of scales.entries()) b[at + 106 + (g >> 1)]! |= s << (4 * (g & 1));
};

interface Shifted {
  readonly d: number;
  readonly scales: readonly number[];
  /** The index of 8 values, of which the eighth is taken off. */
  readonly minus: readonly boolean[];
  readonly indexes: readonly number[];
}

/** IQ1: groups of `n` values with one scale, runs of `run` with one sign of the eighth. */
function fitShifted(x: Float32Array, o: number, n: 16 | 32, run: 8 | 32): Shifted {
  const book = bookOf("iq1");
  const values = (from: number, count: number) => Array.from({ length: count }, (_, i) => x[o + from + i]!);
  const fits = Array.from({ length: 256 / n }, (_, g) => {
    const [plus, minus] = [0.125, -0.125].map((shift) => fitEntries(book, values(n * g, n), shift));
    return (plus!.kept >= minus!.kept ? plus! : minus!).scale;
  });
  const d = toF16(max(...fits) / 15);
  const scales = fits.map((fit) => (d === 0 ? 0 : min(7, max(0, round((fit / decoded(d) - 1) / 2)))));
  const minus: boolean[] = [];
  const indexes: number[] = [];
  for (let from = 0; from < 256; from += run) {
    const scale = decoded(d) * (2 * scales[Math.floor(from / n)]! + 1);
    const piece = values(from, run);
    const tried = [0.125, -0.125].map((shift) => entriesFor(book, piece, scale, shift));
    const errors = tried.map((found, i) =>
      piece.reduce((sum, v, k) => {
        const entry = book.grid[found.indexes[k >> 3]! * 8 + (k & 7)]!;
        return sum + (v - scale * (entry + (i === 0 ? 0.125 : -0.125))) ** 2;
      }, 0),
    );
    const chosen = errors[1]! < errors[0]! ? 1 : 0;
    indexes.push(...tried[chosen]!.indexes);
    for (let k = 0; k < run / 8; k++) minus.push(chosen === 1);
  }
  return { d, scales, minus, indexes };
}

export const encodeIq1S: EncodeBlock = (x, o, b, at) => {
  const { d, scales, minus, indexes } = fitShifted(x, o, 32, 32);
  writeU16(b, at, d);
  for (let g = 0; g < 8; g++) {
    let word = (scales[g]! << 12) | (minus[4 * g]! ? 0x8000 : 0);
    for (let l = 0; l < 4; l++) {
      const index = indexes[4 * g + l]!;
      b[at + 2 + 4 * g + l] = index & 255;
      word |= (index >> 8) << (3 * l);
    }
    writeU16(b, at + 34 + 2 * g, word);
  }
};

export const encodeIq1M: EncodeBlock = (x, o, b, at) => {
  const { d, scales, minus, indexes } = fitShifted(x, o, 16, 8);
  for (const [t, index] of indexes.entries()) {
    b[at + t] = index & 255;
    b[at + 32 + (t >> 1)]! |= ((index >> 8) | (minus[t]! ? 8 : 0)) << (4 * (t & 1));
  }
  for (let i = 0; i < 4; i++) {
    const word = [0, 1, 2, 3].reduce((sum, j) => sum | (scales[4 * i + j]! << (3 * j)), ((d >> (4 * i)) & 15) << 12);
    writeU16(b, at + 48 + 2 * i, word);
  }
};
