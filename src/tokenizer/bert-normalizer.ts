/**
 * Prepares each code point for WordPiece, before words are looked up: white space ends a word, control characters go,
 * punctuation and CJK ideographs are words of their own, the rest is lower-cased and loses its accents.
 *
 * As llama.cpp does it: of a canonical decomposition only the first code point stays, also of a Hangul syllable, and
 * the tables are those of Unicode 15.1. JavaScript's own agree with them for every code point that 15.1 has, but for
 * U+0130, whose simple mapping is "i".
 */
import { isAssigned, symbolOf, symbols } from "./unicode.js";

/** The fate of a code point; in bits 21 and up of an entry, above the code point it is replaced by. */
export const fates = { letter: 0, space: 1, dropped: 2, alone: 3 } as const;
export const fateShift = 21;

export interface NormalizerOptions {
  readonly lowercase: boolean;
  readonly stripAccents: boolean;
}

const pageBits = 7;
const pageSize = 1 << pageBits;
/** As in the tokenizers library, where one block begins too late. */
const ideographs = [
  [0x4e00, 0x9fff],
  [0x3400, 0x4dbf],
  [0x20000, 0x2a6df],
  [0x2a700, 0x2b73f],
  [0x2b740, 0x2b81f],
  [0x2b920, 0x2ceaf],
  [0xf900, 0xfaff],
  [0x2f800, 0x2fa1f],
] as const;

/** Entries by code point, made in pages of 128 when a text first needs them. */
export class BertNormalizer {
  readonly #options: NormalizerOptions;
  readonly #pages: (Int32Array | undefined)[] = [];

  constructor(options: NormalizerOptions) {
    this.#options = options;
  }

  /** Fate and replacement of a code point. */
  entry(codePoint: number): number {
    let page = this.#pages[codePoint >> pageBits];
    if (page === undefined) {
      const first = codePoint & ~(pageSize - 1);
      page = Int32Array.from({ length: pageSize }, (_, i) => entryOf(first + i, this.#options));
      this.#pages[codePoint >> pageBits] = page;
    }
    return page[codePoint & (pageSize - 1)]!;
  }
}

function entryOf(codePoint: number, { lowercase, stripAccents }: NormalizerOptions): number {
  const base = stripAccents ? firstOfDecomposition(codePoint) : codePoint;
  const symbol = symbolOf(base);
  if (base < 0x80 ? symbol === 0x20 || (symbol >= 9 && symbol <= 13) : symbol === symbols.whitespace) {
    return fates.space << fateShift;
  }
  const control = base < 0x80 ? base < 0x20 || base === 0x7f : symbol === symbols.other && isAssigned(base);
  if (control || base === 0xfffd || (stripAccents && symbol === symbols.mark)) return fates.dropped << fateShift;
  const alone = base < 0x80 ? /[^\p{L}\p{N}]/u.test(String.fromCharCode(base)) : symbol === symbols.punctuation;
  const fate = alone || isIdeograph(base) ? fates.alone : fates.letter;
  return (fate << fateShift) | (lowercase ? lowerCase(base) : base);
}

function isIdeograph(codePoint: number): boolean {
  return ideographs.some(([first, last]) => codePoint >= first && codePoint <= last);
}

/** Simple lower case of a code point, by Unicode 15.1. */
export function lowerCase(codePoint: number): number {
  if (codePoint === 0x130) return 0x69;
  return isAssigned(codePoint) ? String.fromCodePoint(codePoint).toLowerCase().codePointAt(0)! : codePoint;
}

/** First code point of the canonical decomposition, by Unicode 15.1. */
export function firstOfDecomposition(codePoint: number): number {
  return isAssigned(codePoint) ? String.fromCodePoint(codePoint).normalize("NFD").codePointAt(0)! : codePoint;
}
