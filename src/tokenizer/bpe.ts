/** Byte-pair encoding ("gpt2" models): pre-tokenize, then merge inside each piece by rank. */
import type { Metadata } from "../formats/types.js";
import { mapBytes, mappedCodePoint } from "./byte-map.js";
import type { IdList } from "./id-list.js";
import { type Merger, maxKept, roomFor, SymbolList } from "./merge-heap.js";
import { BytePairs, MergeTable } from "./merge-table.js";
import { type PreTokenizer, split } from "./pretokenize.js";
import { codePoints, encodedLength, utf8Length } from "./unicode.js";
import { attributes, byAttributes, findToken, isHidden, type Vocabulary } from "./vocab.js";
import { WordCache } from "./word-cache.js";

const none = new Uint8Array(0);
/** Texts of fewer bytes than this, together, are merged by a table of the merges that they could need. */
const fewBytes = 4096;
/** How often such a table is made anew for another text before the whole one is. */
const fewTables = 4;

export class BpeEncoder {
  readonly #metadata: Metadata;
  readonly #vocabulary: Vocabulary;
  readonly #pre: PreTokenizer;
  /** The texts for which the table of merges was made so far; undefined: it is whole. */
  #few: { readonly pairs: BytePairs; bytes: number; tables: number } | undefined;
  readonly #cache = new WordCache();
  readonly #list = new SymbolList();
  #merger: Merger;
  /** Number of the text of each single byte, -1 when no token or merge has it. */
  #byteSymbols: Int32Array;
  /** 1: a token that a person's text never becomes. @shape [size] */
  readonly #hidden: Uint8Array;
  /** Token emitted for one byte of a text that is no token; -1: nothing, as llama.cpp. */
  readonly #fallback: readonly (readonly number[])[];
  /** Symbols of the piece being merged and where they begin in it. */
  #symbols = new Int32Array(64);
  #starts = new Int32Array(64);
  #text: Uint8Array = none;
  #end = 0;

  /** @throws TOKENIZER_INVALID without merges where the vocabulary needs them */
  constructor(metadata: Metadata, vocabulary: Vocabulary, pre: PreTokenizer) {
    this.#metadata = metadata;
    this.#vocabulary = vocabulary;
    this.#pre = pre;
    this.#hidden = byAttributes(vocabulary.attributes, (bits) => (isHidden(bits) ? 1 : 0));
    this.#fallback = Array.from({ length: 256 }, (_, byte) => fallbackOf(vocabulary, byte));
    this.#byteSymbols = this.#singleBytes();
    if (ranksAreIds(metadata, pre)) {
      this.#merger = this.#mergerByIds();
      vocabulary.pieces.trim();
      return;
    }
    MergeTable.check(metadata);
    this.#few = { pairs: new BytePairs(), bytes: 0, tables: 0 };
    this.#merger = { rank: () => -1, merge: () => {} };
  }

  /** Merging may have given single bytes numbers that are no tokens. */
  #singleBytes(): Int32Array {
    const one = new Uint8Array(1);
    return Int32Array.from({ length: 256 }, (_, byte) => {
      one[0] = byte;
      return this.#vocabulary.pieces.find(one, 0, 1);
    });
  }

  /**
   * The table of merges is as much work as the rest of a vocabulary, and the prompt of a `run` needs few of them: they
   * are picked for the first short texts, and the table becomes whole with the first longer one.
   */
  #prepare(text: Uint8Array): void {
    if (this.#few === undefined) return;
    const { pairs } = this.#few;
    this.#few.bytes += text.length;
    if (this.#few.bytes <= fewBytes) {
      if (!pairs.add(this.#vocabulary.form === "bytes" ? Buffer.from(mapBytes(text)) : text)) return;
      if (++this.#few.tables <= fewTables) {
        this.#use(new MergeTable(this.#metadata, this.#vocabulary, pairs));
        return;
      }
    }
    this.#few = undefined;
    this.#use(new MergeTable(this.#metadata, this.#vocabulary));
    this.#vocabulary.pieces.trim();
  }

  #use(merges: MergeTable): void {
    this.#merger = this.#mergerBy(merges);
    this.#byteSymbols = this.#singleBytes();
  }

  #mergerBy(merges: MergeTable): Merger {
    return {
      rank: (left, right) => {
        const [a, b] = [this.#symbols[left]!, this.#symbols[right]!];
        return a < 0 || b < 0 ? -1 : merges.rank(a, b);
      },
      merge: (left, right) => {
        const rank = merges.rank(this.#symbols[left]!, this.#symbols[right]!);
        this.#symbols[left] = merges.joined(rank);
      },
    };
  }

  /** The token that two neighbours make together, found by its bytes; only tokens learnt from text count. */
  #mergerByIds(): Merger {
    const joined = (left: number, right: number) => {
      const after = this.#list.next[right]!;
      const end = after >= 0 ? this.#starts[after]! : this.#end;
      const id = this.#vocabulary.pieces.find(this.#text, this.#starts[left]!, end);
      return this.#isUsed(id) && (this.#vocabulary.attributes[id]! & attributes.user) === 0 ? id : -1;
    };
    return {
      rank: joined,
      merge: (left, right) => {
        this.#symbols[left] = joined(left, right);
      },
    };
  }

  /** Appends the ids of raw UTF-8 text without special tokens. */
  encode(text: Uint8Array, out: IdList): void {
    const raw = this.#pre.traits.escapedSpaces ? escapeSpaces(text) : text;
    this.#prepare(raw);
    const points = codePoints(raw);
    let at = 0;
    let from = 0;
    for (const end of split(this.#pre.stages, points)) {
      let to = from;
      for (; at < end; at++) to += encodedLength(points.points[at]!);
      this.#encodePiece(raw, from, to, out);
      from = to;
    }
  }

  #encodePiece(text: Uint8Array, from: number, to: number, out: IdList): void {
    const { ignoreMerges, wholeNewlines } = this.#pre.traits;
    if (ignoreMerges || (wholeNewlines && text[from] === 0x0a)) {
      const id = this.#vocabulary.pieces.find(text, from, to);
      if (this.#isUsed(id)) {
        out.push(id);
        return;
      }
    }
    if (this.#cache.lookup(text, from, to, out)) return;
    const first = out.length;
    this.#merge(text, from, to, out);
    this.#cache.store(text, from, to, out, first);
  }

  #merge(text: Uint8Array, from: number, to: number, out: IdList): void {
    const count = this.#load(text, from, to);
    this.#text = text;
    this.#end = to;
    this.#list.run(count, this.#merger);
    const { next } = this.#list;
    for (let i = 0; i >= 0 && count > 0; i = next[i]!) {
      const symbol = this.#symbols[i]!;
      if (this.#isUsed(symbol)) {
        out.push(symbol);
        continue;
      }
      const end = next[i]! >= 0 ? this.#starts[next[i]!]! : to;
      if (symbol >= 0 && symbol < this.#vocabulary.size) {
        this.#takeApart(text, this.#starts[i]!, end, out);
        continue;
      }
      for (let b = this.#starts[i]!; b < end; b++) for (const id of this.#fallback[text[b]!]!) out.push(id);
    }
    this.#text = none;
    this.#list.release();
    if (this.#symbols.length > 2 * maxKept) {
      this.#symbols = new Int32Array(0);
      this.#starts = new Int32Array(0);
    }
  }

  /** Control and unused tokens that merges lead to: the longest tokens that are none, from the left. */
  #takeApart(text: Uint8Array, start: number, end: number, out: IdList): void {
    for (let at = start; at < end; ) {
      let to = end;
      while (to > at && !this.#isUsed(this.#vocabulary.pieces.find(text, at, to))) to--;
      if (to > at) out.push(this.#vocabulary.pieces.find(text, at, to));
      else for (const id of this.#fallback[text[to++]!]!) out.push(id);
      at = to;
    }
  }

  #isUsed(id: number): boolean {
    return id >= 0 && id < this.#vocabulary.size && this.#hidden[id] === 0;
  }

  /** First symbols of a piece: bytes, or characters when merges run on UTF-8. @returns how many */
  #load(text: Uint8Array, from: number, to: number): number {
    const size = to - from;
    if (this.#symbols.length < size) {
      this.#symbols = new Int32Array(roomFor(size));
      this.#starts = new Int32Array(roomFor(size));
    }
    let n = 0;
    for (let at = from; at < to; n++) {
      const length = this.#vocabulary.form === "bytes" ? 1 : utf8Length(text[at]!);
      this.#starts[n] = at;
      this.#symbols[n] =
        length === 1
          ? this.#byteSymbols[text[at]!]!
          : this.#vocabulary.pieces.find(text, at, Math.min(at + length, to));
      at += length;
    }
    return n;
  }
}

function ranksAreIds(metadata: Metadata, { traits }: PreTokenizer): boolean {
  return traits.idsAreRanks === true && metadata.packedStrings("tokenizer.ggml.merges") === undefined;
}

/**
 * llama.cpp looks a text that is no token up byte by byte *after* mapping it, so a byte whose mapped character takes
 * two bytes is found only if the vocabulary has those single bytes (none has), else it is dropped.
 */
function fallbackOf(vocabulary: Vocabulary, byte: number): number[] {
  if (vocabulary.form === "utf8") {
    const id = findToken(vocabulary, `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
    return id === undefined || isHidden(vocabulary.attributes[id]!) ? [] : [id];
  }
  const mapped = mappedCodePoint(byte);
  if (mapped >= 0x80) return [];
  const id = findToken(vocabulary, String.fromCharCode(mapped));
  return id === undefined || isHidden(vocabulary.attributes[id]!) ? [] : [id];
}

/** U+0020 -> U+2581 "▁". */
export function escapeSpaces(text: Uint8Array, prefix = false): Uint8Array {
  let spaces = prefix ? 1 : 0;
  for (const byte of text) if (byte === 0x20) spaces++;
  if (spaces === 0) return text;
  const out = new Uint8Array(text.length + 2 * spaces + (prefix ? 1 : 0));
  let n = 0;
  const put = () => {
    out[n++] = 0xe2;
    out[n++] = 0x96;
    out[n++] = 0x81;
  };
  if (prefix) put();
  for (const byte of text) {
    if (byte === 0x20) put();
    else out[n++] = byte;
  }
  return out;
}
