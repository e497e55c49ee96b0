/**
 * Byte-pair encoding of SentencePiece over a normalized text: the pair whose piece has the highest score comes first,
 * the left one of equals.
 */
import type { Metadata } from "../formats/types.js";
import { IdList } from "./id-list.js";
import { type Merger, maxKept, roomFor, SymbolList } from "./merge-heap.js";
import { type PieceTrie, symbolAt } from "./piece-trie.js";
import { rankByScore, wordsApart } from "./spm.js";
import { utf8Length } from "./unicode.js";
import { attributes, findToken, readScores, type Vocabulary } from "./vocab.js";
import { WordCache } from "./word-cache.js";

export interface BpeSettings {
  readonly unknown: number;
  readonly byteFallback: boolean;
  /** User-defined ones, which merge with nothing. */
  readonly symbols: PieceTrie;
}

const merging = attributes.normal | attributes.user | attributes.unused;

export class SentencePieceBpe {
  readonly #vocabulary: Vocabulary;
  readonly #settings: BpeSettings;
  readonly #rank: Int32Array;
  readonly #bytes: Int32Array;
  readonly #wordsApart: boolean;
  readonly #cache = new WordCache();
  readonly #list = new SymbolList();
  readonly #merger: Merger;
  /** The parts that an unused piece becomes again in the end: its text -> bytes of the left one it was merged of. */
  readonly #made = new Map<string, number>();
  #text: Uint8Array = new Uint8Array(0);
  #starts = new Int32Array(64);
  #end = 0;

  /** @throws TOKENIZER_INVALID */
  constructor(metadata: Metadata, vocabulary: Vocabulary, settings: BpeSettings) {
    this.#vocabulary = vocabulary;
    this.#settings = settings;
    this.#rank = rankByScore(readScores(metadata, vocabulary.size));
    this.#wordsApart = wordsApart(vocabulary);
    this.#bytes = Int32Array.from(
      { length: settings.byteFallback ? 256 : 0 },
      (_, byte) => findToken(vocabulary, `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`) ?? settings.unknown,
    );
    this.#merger = {
      rank: (left, right) => {
        const after = this.#list.next[right]!;
        const [start, middle] = [this.#starts[left]!, this.#starts[right]!];
        const end = after >= 0 ? this.#starts[after]! : this.#end;
        const id = vocabulary.pieces.find(this.#text, start, end);
        if (id < 0 || id >= vocabulary.size || (vocabulary.attributes[id]! & merging) === 0) return -1;
        if (vocabulary.attributes[id]! & attributes.unused)
          this.#made.set(textOf(this.#text, start, end), middle - start);
        return this.#rank[id]!;
      },
      merge: () => {},
    };
  }

  encode(text: Uint8Array, out: IdList): void {
    const ids = new IdList();
    const { symbols, unknown, byteFallback } = this.#settings;
    let from = 0;
    for (let at = 0; at < text.length; ) {
      const length = symbolAt(symbols, text, at);
      if (length === 0) {
        at += utf8Length(text[at]!);
        continue;
      }
      this.#between(text, from, at, ids);
      ids.push(this.#vocabulary.pieces.find(text, at, at + length));
      at += length;
      from = at;
    }
    this.#between(text, from, text.length, ids);
    let before = -1;
    for (let i = 0; i < ids.length; i++) {
      const id = ids.at(i)!;
      if (id !== unknown || before !== unknown || byteFallback) out.push(id);
      before = id;
    }
    this.#made.clear();
  }

  /** Words have merges of their own where no piece goes on over a space. */
  #between(text: Uint8Array, from: number, to: number, out: IdList): void {
    let start = from;
    let spaceBefore = true;
    if (this.#wordsApart)
      for (let at = from; at < to; at += utf8Length(text[at]!)) {
        const space = text[at] === 0xe2 && text[at + 1] === 0x96 && text[at + 2] === 0x81;
        if (space && !spaceBefore) {
          this.#word(text, start, at, out);
          start = at;
        }
        spaceBefore = space;
      }
    if (start < to) this.#word(text, start, to, out);
  }

  #word(text: Uint8Array, from: number, to: number, out: IdList): void {
    if (this.#cache.lookup(text, from, to, out)) return;
    const first = out.length;
    if (this.#starts.length < to - from) this.#starts = new Int32Array(roomFor(to - from));
    this.#text = text;
    this.#end = to;
    let count = 0;
    for (let at = from; at < to; at += utf8Length(text[at]!)) this.#starts[count++] = at;
    this.#list.run(count, this.#merger);
    const { next } = this.#list;
    for (let i = 0; i >= 0 && count > 0; i = next[i]!)
      this.#push(text, this.#starts[i]!, next[i]! >= 0 ? this.#starts[next[i]!]! : to, out);
    this.#text = new Uint8Array(0);
    this.#list.release();
    if (this.#starts.length > 2 * maxKept) this.#starts = new Int32Array(0);
    this.#cache.store(text, from, to, out, first);
  }

  #push(text: Uint8Array, start: number, end: number, out: IdList): void {
    const { pieces, size } = this.#vocabulary;
    const id = pieces.find(text, start, end);
    const unused = id >= 0 && id < size && (this.#vocabulary.attributes[id]! & attributes.unused) !== 0;
    const left = unused ? this.#made.get(textOf(text, start, end)) : undefined;
    if (left !== undefined) {
      this.#push(text, start, start + left, out);
      this.#push(text, start + left, end, out);
    } else if (id >= 0 && id < size && id !== this.#settings.unknown) out.push(id);
    else if (this.#bytes.length > 0) for (let i = start; i < end; i++) out.push(this.#bytes[text[i]!]!);
    else out.push(this.#settings.unknown);
  }
}

const textOf = (text: Uint8Array, from: number, to: number): string =>
  Buffer.from(text.buffer, text.byteOffset + from, to - from).toString("latin1");
