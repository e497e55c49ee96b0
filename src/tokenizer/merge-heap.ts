/**
 * The two ways to repeat "merge the best adjacent pair, leftmost first" over a list of symbols. Both give the same
 * result; short lists are scanned, long ones (a megabyte without white space) use a heap, O(n log n).
 */

/**
 * Rank of a merge of the symbols at `left` and `right` (lower is first), or -1; and what a merge does to the symbols.
 */
export interface Merger {
  rank(left: number, right: number): number;
  merge(left: number, right: number): void;
}

/** Ranks and positions share one double exactly: rank * 2^31 + position < 2^53. */
export const maxRank = 1 << 22;
const positionRange = 2 ** 31;
const scanLimit = 48;

/** Lists for more symbols are given back when a text is done. */
export const maxKept = 1 << 16;

/** Room for a list of `count`: some to spare while it is small, a giant text gets what it needs. */
export function roomFor(count: number): number {
  return count > maxKept ? count : Math.max(64, 2 * count);
}

/** Positions 0..count-1 as a linked list; merged symbols leave it. */
export class SymbolList {
  next = new Int32Array(64);
  previous = new Int32Array(64);
  #ranks = new Int32Array(scanLimit);
  #heap = new Float64Array(0);
  #heapSize = 0;

  /** After it, walk from 0 by `next` (-1 ends) to read what is left. */
  run(count: number, merger: Merger): void {
    if (this.next.length < count) {
      this.next = new Int32Array(roomFor(count));
      this.previous = new Int32Array(roomFor(count));
    }
    for (let i = 0; i < count; i++) {
      this.next[i] = i + 1 < count ? i + 1 : -1;
      this.previous[i] = i - 1;
    }
    if (count <= scanLimit) this.#scan(count, merger);
    else this.#runHeap(count, merger);
  }

  #scan(count: number, merger: Merger): void {
    const ranks = this.#ranks;
    for (let i = 0; i + 1 < count; i++) ranks[i] = merger.rank(i, i + 1);
    if (count > 0) ranks[count - 1] = -1;
    for (;;) {
      let best = -1;
      let bestRank = maxRank;
      for (let i = 0; i >= 0; i = this.next[i]!) {
        const rank = ranks[i]!;
        if (rank >= 0 && rank < bestRank) {
          best = i;
          bestRank = rank;
        }
      }
      if (best < 0) return;
      this.#join(best, merger);
      const { next, previous } = this;
      ranks[best] = next[best]! >= 0 ? merger.rank(best, next[best]!) : -1;
      if (previous[best]! >= 0) ranks[previous[best]!] = merger.rank(previous[best]!, best);
    }
  }

  #runHeap(count: number, merger: Merger): void {
    // Every merge takes an entry and may leave two: beyond twice the pairs it cannot grow, and hardly ever beyond them.
    if (this.#heap.length < count) this.#heap = new Float64Array(roomFor(count));
    this.#heapSize = 0;
    const { next, previous } = this;
    // Alive positions keep next >= -1; a merged one is marked -2.
    for (let i = 0; i + 1 < count; i++) this.#offer(i, merger.rank(i, i + 1));
    while (this.#heapSize > 0) {
      const key = this.#pop();
      const rank = Math.floor(key / positionRange);
      const left = key - rank * positionRange;
      // An outdated entry: the pair now at this position has another rank (or none), and its own entry.
      if (next[left]! < 0 || merger.rank(left, next[left]!) !== rank) continue;
      this.#join(left, merger);
      if (next[left]! >= 0) this.#offer(left, merger.rank(left, next[left]!));
      if (previous[left]! >= 0) this.#offer(previous[left]!, merger.rank(previous[left]!, left));
    }
    if (this.#heap.length > maxKept) this.#heap = new Float64Array(0);
  }

  /** Called when the rest has been read: a giant text gives its buffers back. */
  release(): void {
    if (this.next.length <= 2 * maxKept) return;
    this.next = new Int32Array(0);
    this.previous = new Int32Array(0);
  }

  #join(left: number, merger: Merger): void {
    const { next, previous } = this;
    const right = next[left]!;
    merger.merge(left, right);
    const after = next[right]!;
    next[left] = after;
    if (after >= 0) previous[after] = left;
    next[right] = -2;
  }

  #offer(position: number, rank: number): void {
    if (rank < 0) return;
    if (this.#heapSize === this.#heap.length) {
      const grown = new Float64Array(Math.ceil(1.25 * this.#heapSize) + 64);
      grown.set(this.#heap);
      this.#heap = grown;
    }
    const heap = this.#heap;
    const key = rank * positionRange + position;
    let at = this.#heapSize++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]! <= key) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = key;
  }

  #pop(): number {
    const heap = this.#heap;
    const top = heap[0]!;
    const size = --this.#heapSize;
    const last = heap[size]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= last) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return top;
  }
}
