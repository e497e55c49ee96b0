/** Merges of byte-pair encoding: pair of texts -> rank and joined text, in typed arrays (about 16 bytes a merge). */
import type { Metadata } from "../formats/types.js";
import { unmapInto } from "./byte-map.js";
import { maxRank } from "./merge-heap.js";
import { invalid, type Vocabulary } from "./vocab.js";

/**
 * Pairs of neighbouring bytes that texts have, as the vocabulary writes them. What a merge joins is a part of a text,
 * so all pairs in it are among these.
 */
export class BytePairs {
  readonly #seen = new Uint8Array(1 << 16);

  /** The merges of which every pair is one of these, in their order. */
  mergesOf(bytes: Uint8Array, offsets: ArrayLike<number>, border: number): Int32Array {
    const seen = this.#seen;
    return this.#mergesAt(bytes, offsets, border).filter((at) => {
      const [from, to] = [offsets[at]!, offsets[at + 1]!];
      const space = borderOf(bytes, from, to, border);
      for (let i = from + 1; i < to; i++)
        if (i !== space && i !== space + 1 && seen[(bytes[i - 1]! << 8) | bytes[i]!] === 0) return false;
      return true;
    });
  }

  /** Those whose border is one of these pairs. One loop without branches: a start waits for it. */
  #mergesAt(bytes: Uint8Array, offsets: ArrayLike<number>, border: number): Int32Array {
    const seen = this.#seen;
    const count = offsets.length - 1;
    const found = new Int32Array(count);
    let n = 0;
    let to = offsets[0]!;
    for (let at = 0; at < count; at++) {
      let space = to + 1; // as `borderOf`
      to = offsets[at + 1]!;
      while (space < to && bytes[space] !== border) space++;
      found[n] = at;
      n += space < to ? seen[(bytes[space - 1]! << 8) | bytes[space + 1]!]! : 0;
    }
    return found.slice(0, n);
  }

  /** @returns whether there was a new one */
  add(text: Uint8Array): boolean {
    let added = false;
    for (let i = 1; i < text.length; i++) {
      const at = (text[i - 1]! << 8) | text[i]!;
      if (this.#seen[at] === 0) added = true;
      this.#seen[at] = 1;
    }
    return added;
  }
}

export class MergeTable {
  /** By rank among those taken: numbers of the two texts in the vocabulary's piece table, and of the joined one. */
  readonly #left: Int32Array;
  readonly #right: Int32Array;
  readonly #joined: Int32Array;
  /** Open addressing: rank + 1, 0 is free. */
  readonly #slots: Int32Array;

  /** @throws TOKENIZER_INVALID without merges, or when there are more than any vocabulary has */
  static check(metadata: Metadata): { readonly bytes: Uint8Array; readonly offsets: ArrayLike<number> } {
    const merges = metadata.packedStrings("tokenizer.ggml.merges");
    if (merges === undefined) throw invalid("tokenizer.ggml.merges is missing: byte-pair encoding needs it");
    const count = merges.offsets.length - 1;
    if (count >= maxRank)
      throw invalid(`tokenizer.ggml.merges has ${count} entries, at most ${maxRank - 1} are possible`);
    return merges;
  }

  /**
   * Texts that are no tokens (a damaged or trimmed vocabulary) get numbers after the tokens: they can be merged
   * further but not emitted, exactly as llama.cpp, which merges texts.
   * @param wanted pairs of neighbouring bytes: only merges of such pairs are taken; absent: all of them
   * @throws TOKENIZER_INVALID as `check`
   */
  constructor(metadata: Metadata, vocabulary: Vocabulary, wanted?: BytePairs) {
    const { bytes, offsets } = MergeTable.check(metadata);
    const border = bytes.includes(0xff) ? 0xff : 0x20;
    const chosen = wanted?.mergesOf(bytes, offsets, border);
    const count = chosen?.length ?? offsets.length - 1;
    // Read where a slot names them only.
    this.#left = new Int32Array(count);
    this.#right = new Int32Array(count);
    this.#joined = new Int32Array(count);
    let size = 64;
    while (size < 2 * count) size *= 2;
    this.#slots = new Int32Array(size);

    const { pieces, form } = vocabulary;
    let scratch = new Uint8Array(512);
    let joined = -1;
    for (let rank = 0; rank < count; rank++) {
      const at = chosen === undefined ? rank : chosen[rank]!;
      const [from, to] = [offsets[at]!, offsets[at + 1]!];
      const space = borderOf(bytes, from, to, border);
      if (space >= to) continue;
      if (scratch.length < to - from) scratch = new Uint8Array(2 * (to - from));
      const leftLength =
        form === "bytes" ? unmapInto(bytes, from, space, scratch, 0) : copy(bytes, from, space, scratch, 0);
      if (leftLength <= 0) continue;
      const rightLength =
        form === "bytes"
          ? unmapInto(bytes, space + 1, to, scratch, leftLength)
          : copy(bytes, space + 1, to, scratch, leftLength);
      if (rightLength <= 0) continue;
      const end = leftLength + rightLength;
      const left = pieces.findOrAppend(scratch, 0, leftLength);
      const right = pieces.findOrAppend(scratch, leftLength, end);
      const slot = this.#slot(left, right);
      if (this.#slots[slot] !== 0) continue; // the first of equal pairs counts
      this.#slots[slot] = rank + 1;
      this.#left[rank] = left;
      this.#right[rank] = right;
      // Vocabularies list what merges make in the order of the merges.
      joined = pieces.findOrAppend(scratch, 0, end, joined + 1);
      this.#joined[rank] = joined;
    }
  }

  /** Rank of a pair of text numbers, or -1. */
  rank(left: number, right: number): number {
    return this.#slots[this.#slot(left, right)]! - 1;
  }

  joined(rank: number): number {
    return this.#joined[rank]!;
  }

  /** The slot of the pair, or the free one where it would be. */
  #slot(left: number, right: number): number {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let h = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b);
    h ^= h >>> 15;
    for (let s = h & mask; ; s = (s + 1) & mask) {
      const rank = slots[s]! - 1;
      if (rank < 0 || (this.#left[rank] === left && this.#right[rank] === right)) return s;
    }
  }
}

/**
 * Where the two texts of a merge meet. The left one may itself begin with a space, so the separator is looked for
 * behind its first byte; where texts have spaces in them, it is a byte that no text has.  @returns `to`: nowhere
 */
function borderOf(bytes: Uint8Array, from: number, to: number, border: number): number {
  let at = from + 1;
  while (at < to && bytes[at] !== border) at++;
  return at;
}

function copy(bytes: Uint8Array, from: number, to: number, out: Uint8Array, at: number): number {
  out.set(bytes.subarray(from, to), at);
  return to - from;
}
