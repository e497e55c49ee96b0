/**
 * Pieces as a prefix tree over their bytes: what begins at a position, in one walk. Children lie together and in order,
 * so a node takes 9 bytes (250,000 pieces of XLM-RoBERTa: 7 MB) and no hash is computed on the way.
 */
import type { PieceTable } from "./piece-table.js";
import { invalid } from "./vocab.js";

/**
 * Longest piece in bytes. A walk takes at most this many steps, so time stays linear in the text for any vocabulary;
 * SentencePiece learns pieces of 16 characters.
 */
export const longestPiece = 512;
/** Bytes of all pieces: XLM-RoBERTa has 2.3 MB. */
const maxBytes = 1 << 24;

export class PieceTrie {
  /** Children of a node: from its entry up to that of the next node. @shape [nodes + 1] */
  readonly #first: Int32Array;
  /** @shape [nodes] */
  readonly #byte: Uint8Array;
  /** Id of the piece that ends at a node, or -1. @shape [nodes] */
  readonly #piece: Int32Array;
  /** Children of the root by byte, 0 for none. */
  readonly #root = new Int32Array(256);

  /**
   * Holds those of the first `size` pieces that `include` accepts; of equal texts the last one counts.
   * @throws TOKENIZER_INVALID for pieces that are too long, one or all together
   */
  constructor(pieces: PieceTable, size: number, include: (id: number) => boolean) {
    const ids: number[] = [];
    let total = 0;
    for (let id = 0; id < size; id++) {
      const length = pieces.end(id) - pieces.start(id);
      if (length === 0 || !include(id)) continue;
      if (length > longestPiece) {
        throw invalid(
          `tokenizer.ggml.tokens: token ${id} has ${length} bytes, at most ${longestPiece} are possible here`,
        );
      }
      total += length;
      ids.push(id);
    }
    if (total > maxBytes)
      throw invalid(`tokenizer.ggml.tokens: ${total} bytes of text, at most ${maxBytes} are possible`);

    const { bytes } = pieces;
    const order = Int32Array.from(ids);
    const first = new Int32Array(total + 2);
    const byte = new Uint8Array(total + 1);
    const piece = new Int32Array(total + 1).fill(-1);
    /** The pieces below a node: a range of `order`. */
    const from = new Int32Array(total + 1);
    const to = new Int32Array(total + 1);
    const sorter = new RangeSorter(order.length);
    to[0] = order.length;
    let count = 1;
    let levelEnd = 1;
    for (let node = 0, depth = 0; node < count; node++) {
      if (node === levelEnd) {
        levelEnd = count;
        depth++;
      }
      first[node] = count;
      let [low, high] = [from[node]!, to[node]!];
      for (let i = low; i < high; i++) {
        const id = order[i]!;
        if (pieces.end(id) - pieces.start(id) !== depth) continue;
        piece[node] = Math.max(piece[node]!, id);
        order[i] = order[low]!;
        order[low++] = id;
      }
      if (high - low === 1) {
        // Most nodes: the rest of one piece.
        byte[count] = bytes[pieces.start(order[low]!) + depth]!;
        from[count] = low;
        to[count++] = high;
        continue;
      }
      const byteOf = (id: number) => bytes[pieces.start(id) + depth]!;
      if (high - low > 1) sorter.sort(order, low, high, byteOf);
      for (; low < high; count++) {
        const value = byteOf(order[low]!);
        byte[count] = value;
        from[count] = low;
        while (low < high && byteOf(order[low]!) === value) low++;
        to[count] = low;
      }
    }
    first[count] = count;
    this.#first = first.slice(0, count + 1);
    this.#byte = byte.slice(0, count);
    this.#piece = piece.slice(0, count);
    for (let child = this.#first[0]!; child < this.#first[1]!; child++) this.#root[this.#byte[child]!] = child;
  }

  /** Child of `node` by `byte`, or 0. The root is node 0. */
  next(node: number, byte: number): number {
    if (node === 0) return this.#root[byte]!;
    let low = this.#first[node]!;
    let high = this.#first[node + 1]!;
    while (high - low > 6) {
      const middle = (low + high) >> 1;
      if (this.#byte[middle]! > byte) high = middle;
      else low = middle;
    }
    for (; low < high; low++) if (this.#byte[low] === byte) return low;
    return 0;
  }

  /** Id of the piece that ends at `node`, or -1. */
  piece(node: number): number {
    return this.#piece[node]!;
  }

  get memoryBytes(): number {
    return this.#first.byteLength + this.#byte.byteLength + this.#piece.byteLength;
  }
}

/** Sorts ranges of ids by one byte of their texts: few by insertion, many by counting. */
class RangeSorter {
  readonly #scratch: Int32Array;
  readonly #counts = new Int32Array(257);

  constructor(size: number) {
    this.#scratch = new Int32Array(size);
  }

  sort(order: Int32Array, low: number, high: number, byteOf: (id: number) => number): void {
    if (high - low <= 24) {
      for (let i = low + 1; i < high; i++) {
        const id = order[i]!;
        const value = byteOf(id);
        let at = i;
        for (; at > low && byteOf(order[at - 1]!) > value; at--) order[at] = order[at - 1]!;
        order[at] = id;
      }
      return;
    }
    const counts = this.#counts.fill(0);
    for (let i = low; i < high; i++) counts[byteOf(order[i]!) + 1]!++;
    for (let b = 0; b < 256; b++) counts[b + 1]! += counts[b]!;
    for (let i = low; i < high; i++) this.#scratch[counts[byteOf(order[i]!)]!++] = order[i]!;
    order.set(this.#scratch.subarray(0, high - low), low);
  }
}

/** The longest symbol that a text has at a place. @returns its bytes, or 0 */
export function symbolAt(symbols: PieceTrie, text: Uint8Array, at: number): number {
  let longest = 0;
  for (
    let i = at, node = symbols.next(0, text[i]!);
    node !== 0;
    node = i < text.length ? symbols.next(node, text[i]!) : 0
  ) {
    i++;
    if (symbols.piece(node) >= 0) longest = i - at;
  }
  return longest;
}
