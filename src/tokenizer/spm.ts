/** SentencePiece byte-pair encoding ("llama" models): merge neighbours into the token of the highest score. */
import type { Metadata } from "../formats/types.js";
import { escapeSpaces } from "./bpe.js";
import type { IdList } from "./id-list.js";
import { type Merger, maxKept, roomFor, SymbolList } from "./merge-heap.js";
import { utf8Length } from "./unicode.js";
import { byAttributes, findToken, isGuarded, isHidden, readScores, type Vocabulary } from "./vocab.js";
import { WordCache } from "./word-cache.js";

export class SpmEncoder {
  readonly #vocabulary: Vocabulary;
  /** Order of the tokens by falling score, equal scores equal. */
  readonly #rank: Int32Array;
  /** Token of each byte: `<0xXX>`, else the one-byte text, else unknown; -1 when there is none of them. */
  readonly #byteTokens: Int32Array;
  /**
   * Marks tokens that a person's text never becomes. Unused pieces are merged through and then taken apart again.
   * @shape [size]
   */
  readonly #hidden: Uint8Array;
  /** No token has "▁" behind another character, so merges never cross the beginning of a word. */
  readonly #wordsApart: boolean;
  readonly #cache = new WordCache();
  readonly #list = new SymbolList();
  readonly #merger: Merger;
  #text: Uint8Array = new Uint8Array(0);
  #starts = new Int32Array(64);
  #end = 0;

  constructor(metadata: Metadata, vocabulary: Vocabulary, unknown: number | undefined) {
    this.#vocabulary = vocabulary;
    this.#rank = rankByScore(readScores(metadata, vocabulary.size));
    this.#wordsApart = wordsApart(vocabulary);
    this.#byteTokens = Int32Array.from({ length: 256 }, (_, byte) => {
      const single = new Uint8Array([byte]);
      const id = findToken(vocabulary, `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
      if (id !== undefined && !isHidden(vocabulary.attributes[id]!)) return id;
      const raw = vocabulary.pieces.find(single, 0, 1);
      return raw >= 0 && !isHidden(vocabulary.attributes[raw]!) ? raw : (unknown ?? -1);
    });
    this.#hidden = byAttributes(vocabulary.attributes, (bits) =>
      isGuarded(bits) ? guarded : isHidden(bits) ? unused : 0,
    );
    this.#merger = {
      rank: (left, right) => {
        const after = this.#list.next[right]!;
        const end = after >= 0 ? this.#starts[after]! : this.#end;
        const id = this.#vocabulary.pieces.find(this.#text, this.#starts[left]!, end);
        return id < 0 || this.#hidden[id] === guarded ? -1 : this.#rank[id]!;
      },
      merge: () => {},
    };
  }

  get memoryBytes(): number {
    return this.#rank.byteLength;
  }

  /** Appends the ids of raw UTF-8 text; `prefix` puts a space before it. */
  encode(raw: Uint8Array, prefix: boolean, out: IdList): void {
    const text = escapeSpaces(raw, prefix);
    if (!this.#wordsApart) {
      this.#merge(text, 0, text.length, out);
      return;
    }
    let from = 0;
    let spaceBefore = true;
    for (let at = 0; at < text.length; at += utf8Length(text[at]!)) {
      const space = isSpace(text, at);
      if (space && !spaceBefore) {
        this.#encodeWord(text, from, at, out);
        from = at;
      }
      spaceBefore = space;
    }
    if (from < text.length) this.#encodeWord(text, from, text.length, out);
  }

  #encodeWord(text: Uint8Array, from: number, to: number, out: IdList): void {
    if (this.#cache.lookup(text, from, to, out)) return;
    const first = out.length;
    this.#merge(text, from, to, out);
    this.#cache.store(text, from, to, out, first);
  }

  #merge(text: Uint8Array, from: number, to: number, out: IdList): void {
    const size = to - from;
    if (this.#starts.length < size) this.#starts = new Int32Array(roomFor(size));
    this.#text = text;
    this.#end = to;
    let count = 0;
    for (let at = from; at < to; at += utf8Length(text[at]!)) this.#starts[count++] = at;
    this.#list.run(count, this.#merger);
    const { next } = this.#list;
    for (let i = 0; i >= 0 && count > 0; i = next[i]!) {
      const start = this.#starts[i]!;
      const end = next[i]! >= 0 ? this.#starts[next[i]!]! : to;
      const id = this.#vocabulary.pieces.find(text, start, end);
      if (id >= 0 && this.#hidden[id] === 0) out.push(id);
      else if (id >= 0 && this.#hidden[id] === unused) this.#takeApart(text, start, end, out);
      else this.#pushBytes(text, start, end, out);
    }
    this.#text = new Uint8Array(0);
    this.#list.release();
    if (this.#starts.length > 2 * maxKept) this.#starts = new Int32Array(0);
  }

  #pushBytes(text: Uint8Array, start: number, end: number, out: IdList): void {
    for (let b = start; b < end; b++) {
      const token = this.#byteTokens[text[b]!]!;
      if (token >= 0) out.push(token);
    }
  }

  /** An unused piece: the longest pieces that are in use, from the left; what is none becomes bytes. */
  #takeApart(text: Uint8Array, start: number, end: number, out: IdList): void {
    for (let at = start; at < end; ) {
      let to = end;
      while (to > at && !this.#isUsed(this.#vocabulary.pieces.find(text, at, to))) to--;
      if (to > at) out.push(this.#vocabulary.pieces.find(text, at, to));
      else {
        to = Math.min(end, at + utf8Length(text[at]!));
        this.#pushBytes(text, at, to, out);
      }
      at = to;
    }
  }

  #isUsed(id: number): boolean {
    return id >= 0 && this.#hidden[id] === 0;
  }
}

const guarded = 2;
const unused = 1;

/** Order of the tokens by falling score, equal scores equal. */
export function rankByScore(scores: Float64Array): Int32Array {
  const distinct = Float32Array.from(new Set(scores)).sort().reverse();
  const rankOf = new Map<number, number>();
  distinct.forEach((score, rank) => {
    rankOf.set(score, rank);
  });
  return Int32Array.from(scores, (score) => rankOf.get(score)!);
}

function isSpace(text: Uint8Array, at: number): boolean {
  return text[at] === 0xe2 && text[at + 1] === 0x96 && text[at + 2] === 0x81;
}

/** Whether no token has "▁" behind another character, so that merges never cross the beginning of a word. */
export function wordsApart(vocabulary: Vocabulary): boolean {
  for (let id = 0; id < vocabulary.size; id++) {
    const text = vocabulary.pieces.at(id);
    for (let at = 3; at + 2 < text.length; at++) {
      if (isSpace(text, at) && !isSpace(text, at - 3)) return false;
    }
    // One or two bytes before a "▁" at the very start.
    if (isSpace(text, 1) || isSpace(text, 2)) return false;
  }
  return true;
}
