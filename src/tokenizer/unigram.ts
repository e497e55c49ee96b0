/**
 * Unigram ("t5" models): of all ways to cut a text into pieces the one with the highest sum of scores, by Viterbi over
 * a prefix tree. A character that no piece writes alone costs ten more than the worst piece; runs of such characters
 * become one unknown token, or their bytes where the vocabulary has a token for each.
 *
 * @source SentencePiece unigram_model.cc; Kudo (2018), Subword Regularization
 */
import type { Metadata } from "../formats/types.js";
import type { IdList } from "./id-list.js";
import { PieceTrie } from "./piece-trie.js";
import { utf8Length } from "./unicode.js";
import type { UnigramNormalizer } from "./unigram-normalizer.js";
import { attributes, findToken, invalid, isHidden, readScores, type Vocabulary } from "./vocab.js";

const unknownPenalty = 10;
/**
 * The score of a user-defined piece in SentencePiece 0.2.3, by its bytes: a bonus over any way through others. Found by
 * comparing ids, where ties and their rounding decide.
 */
const symbolScore = (bytes: number): number => Math.fround(0.1 * bytes - 0.1);
/** Marks a character without a piece of its own. */
const noPiece = -1;
/** More than this is given back when a text is done. */
const maxKept = 1 << 16;

/** A text on its way to the encoder: `bytes[0, length)` after `run`. */
export type NormalizedText = Pick<UnigramNormalizer, "bytes" | "length" | "run" | "release">;

export class UnigramEncoder {
  readonly #normalizer: NormalizedText;
  readonly #trie: PieceTrie;
  /** The score of each piece; 0 for a user-defined one, above every logarithm of a probability. @shape [size] */
  readonly #scores: Float64Array;
  readonly #unknownScore: number;
  readonly #unknown: number | undefined;
  /** Token of each byte, undefined unless all 256 exist. */
  readonly #byteTokens: Int32Array | undefined;
  // The stretch between two places that every way passes: best sum at each of its ends of pieces, the piece that ends
  // there and where it begins. Sums go on over the whole text, so that they round as llama.cpp's do.
  readonly #single: boolean;
  #sums: Float64Array | Float32Array = new Float64Array(256);
  #pieces = new Int32Array(256);
  #begins = new Int32Array(256);
  #reached = 0;

  /** @throws TOKENIZER_INVALID */
  constructor(
    metadata: Metadata,
    vocabulary: Vocabulary,
    unknown: number | undefined,
    normalizer: NormalizedText,
    { singlePrecision = false }: { readonly singlePrecision?: boolean } = {},
  ) {
    this.#single = singlePrecision;
    this.#resize(256);
    this.#normalizer = normalizer;
    this.#unknown = unknown;
    const bits = vocabulary.attributes;
    const scores = readScores(metadata, vocabulary.size);
    const bad = scores.findIndex((score) => !Number.isFinite(score));
    if (bad >= 0) throw invalid(`tokenizer.ggml.scores: the score of token ${bad} is ${scores[bad]}`);
    let lowest = Number.POSITIVE_INFINITY;
    for (let id = 0; id < scores.length; id++) {
      if (bits[id]! & attributes.normal) lowest = Math.min(lowest, scores[id]!);
    }
    const least = (Number.isFinite(lowest) ? lowest : 0) - unknownPenalty;
    // Files of single precision are of programs that compute so.
    this.#unknownScore = scores.every((score) => Math.fround(score) === score) ? Math.fround(least) : least;
    this.#scores = Float64Array.from(scores, (score, id) =>
      bits[id]! & attributes.user ? (singlePrecision ? symbolScore(vocabulary.pieces.at(id).length) : 0) : score,
    );
    const inText = attributes.normal | attributes.user;
    const isUsed = (id: number) => (bits[id]! & inText) !== 0 && !isHidden(bits[id]!);
    this.#trie = new PieceTrie(vocabulary.pieces, vocabulary.size, isUsed);
    this.#byteTokens = readByteTokens(vocabulary);
  }

  get memoryBytes(): number {
    return this.#trie.memoryBytes + this.#scores.byteLength;
  }

  /** Appends the ids of raw UTF-8 text without special tokens. */
  encode(raw: Uint8Array, out: IdList): void {
    this.#normalizer.run(raw);
    const { bytes: text, length } = this.#normalizer;
    let start = 0;
    /** End of the longest piece so far. Where it does not reach beyond, every way passes: what is before is decided. */
    let farthest = 0;
    let unknownBefore = false;
    this.#reached = 0;
    this.#sums[0] = 0;
    for (let at = 0; at < length; ) {
      if (at > start && at === farthest) {
        unknownBefore = this.#emit(text, start, at, out, unknownBefore);
        this.#sums[0] = this.#sums[at - start]!;
        this.#reached = 0;
        start = at;
      }
      const sum = this.#sums[at - start]!;
      const end = Math.min(at + utf8Length(text[at]!), length);
      let wholeCharacter = false;
      for (let i = at, node = this.#trie.next(0, text[i]!); node !== 0; ) {
        i++;
        const id = this.#trie.piece(node);
        if (id >= 0) {
          if (i === end) wholeCharacter = true;
          if (i > farthest) farthest = i;
          const to = sum + this.#scores[id]!;
          this.#offer(i - start, this.#single ? Math.fround(to) : to, id, at - start);
        }
        node = i < length ? this.#trie.next(node, text[i]!) : 0;
      }
      if (!wholeCharacter) {
        if (end > farthest) farthest = end;
        const to = sum + this.#unknownScore;
        this.#offer(end - start, this.#single ? Math.fround(to) : to, noPiece, at - start);
      }
      at = end;
    }
    if (length > start) this.#emit(text, start, length, out, unknownBefore);
    this.#normalizer.release();
    if (this.#sums.length > 2 * maxKept) this.#resize(256);
  }

  /** Keeps the better way to `end`; of equal ones the first, which is the longest piece. */
  #offer(end: number, sum: number, id: number, begin: number): void {
    if (end >= this.#sums.length) this.#resize(2 * end);
    while (this.#reached < end) this.#sums[++this.#reached] = Number.NEGATIVE_INFINITY;
    if (sum <= this.#sums[end]!) return;
    this.#sums[end] = sum;
    this.#pieces[end] = id;
    this.#begins[end] = begin;
  }

  /** Appends the best way from `start` to `end`. @returns true when it ends with the unknown token */
  #emit(text: Uint8Array, start: number, end: number, out: IdList, unknownBefore: boolean): boolean {
    // Turn the chain of beginnings round: `begins` then leads forward.
    let next = end - start;
    for (let at = next; at > 0; ) {
      const begin = this.#begins[at]!;
      this.#begins[at] = next;
      next = at;
      at = begin;
    }
    let unknown = unknownBefore;
    let from = 0;
    for (let at = next; ; ) {
      const id = this.#pieces[at]!;
      if (id === noPiece && this.#byteTokens !== undefined) {
        for (let i = start + from; i < start + at; i++) out.push(this.#byteTokens[text[i]!]!);
        unknown = false;
      } else {
        const token = id === noPiece ? this.#unknown : id;
        const isUnknown = token === this.#unknown;
        if (token !== undefined && !(isUnknown && unknown)) out.push(token);
        unknown = isUnknown;
      }
      if (at === end - start) return unknown;
      from = at;
      at = this.#begins[at]!;
    }
  }

  #resize(size: number): void {
    const [sums, pieces, begins] = [this.#sums, this.#pieces, this.#begins];
    this.#sums = this.#single ? new Float32Array(size) : new Float64Array(size);
    this.#pieces = new Int32Array(size);
    this.#begins = new Int32Array(size);
    this.#sums.set(sums.subarray(0, size));
    this.#pieces.set(pieces.subarray(0, size));
    this.#begins.set(begins.subarray(0, size));
  }
}

function readByteTokens(vocabulary: Vocabulary): Int32Array | undefined {
  const ids = new Int32Array(256);
  for (let byte = 0; byte < 256; byte++) {
    const id = findToken(vocabulary, `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    if (id === undefined || (vocabulary.attributes[id]! & attributes.byte) === 0) return undefined;
    ids[byte] = id;
  }
  return ids;
}
