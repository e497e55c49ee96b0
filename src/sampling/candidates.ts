/**
 * The tokens still in the running, as two parallel arrays that are reused for every token. Samplers drop or reweight
 * candidates; none of them allocates.
 *
 * One order decides every tie in this room: the higher logit first, of equal logits the lower token id.
 */
import { HundredweightError } from "../errors.js";
import type { AllowedTokens } from "./allowed.js";
import { Edits } from "./edits.js";

/**
 * Finds the `count` best of a row's logits whose mark is not 1, as a heap with the worst on top, into `ids` and
 * `logits`.
 * @returns how many there are, or -1 - i when logit i is no number or +Infinity
 */
export type BestScan = (
  row: Float32Array,
  marks: Uint8Array | null,
  count: number,
  ids: Int32Array,
  logits: Float64Array,
) => number;

export class Candidates {
  /** Token ids [size]. */
  readonly ids: Int32Array;
  /** Double precision, so that penalties and temperature add no rounding of their own [size]. */
  readonly logits: Float64Array;
  /** Scratch of samplers that need probabilities [size]. */
  readonly weights: Float64Array;
  size = 0;
  /** Whether the candidates lie in descending order. */
  sorted = false;
  private changed: Edits | undefined;
  private readonly scan: BestScan | undefined;

  /** @param scan a faster one than the loop here */
  constructor(vocab: number, scan?: BestScan) {
    this.scan = scan;
    this.ids = new Int32Array(vocab);
    this.logits = new Float64Array(vocab);
    this.weights = new Float64Array(vocab);
  }

  /** Scratch for changed logits; made when something changes one. */
  get edits(): Edits {
    this.changed ??= new Edits(this.ids.length);
    return this.changed;
  }

  /**
   * Takes all logits of a row.
   * @param edits logits that stand in place of those of the row
   * @throws MODEL_INVALID when one of the row is no number or +Infinity: damaged weights, or a bug that must not
   * become text.
   *   -Infinity is a token that cannot come.
   */
  load(row: Float32Array, edits?: Edits): void {
    const { ids, logits } = this;
    let sound = true;
    for (let i = 0; i < row.length; i++) {
      const value = row[i]!;
      sound &&= value < Number.POSITIVE_INFINITY;
      ids[i] = i;
      logits[i] = value;
    }
    if (!sound) refuse(row);
    if (edits !== undefined) for (let t = 0; t < edits.size; t++) logits[edits.ids[t]!] = edits.values[edits.ids[t]!]!;
    this.size = row.length;
    this.sorted = false;
  }

  /**
   * The same as `load` and `keepBest(count)`, in one scan that writes next to nothing: of 262,144 logits all but a few
   * hundred cost one comparison with the worst of those kept. Changed ones are left out, and compared as they are now
   * at the end.
   * @throws MODEL_INVALID as `load`
   */
  loadBest(row: Float32Array, count: number, edits?: Edits): void {
    const { ids, logits } = this;
    const keep = Math.min(count, row.length);
    const marks = edits?.marks ?? null;
    let filled = keep === 0 ? 0 : (this.scan?.(row, marks, keep, ids, logits) ?? this.scanHere(row, marks, keep));
    if (filled < 0) refuse(row);
    let touched = 0;
    for (; filled < keep; touched++) {
      const id = edits!.ids[touched]!;
      ids[filled] = id;
      logits[filled++] = edits!.values[id]!;
    }
    if (touched > 0) this.heapWorst(keep);
    if (edits !== undefined) {
      const { ids: changed, values, size } = edits;
      for (let worst = logits[0]!; touched < size; touched++) {
        const id = changed[touched]!;
        const value = values[id]!;
        if (value < worst || (value === worst && id > ids[0]!)) continue;
        this.replaceWorst(id, value, keep);
        worst = logits[0]!;
      }
    }
    this.size = keep;
    this.sortHeap(keep);
  }

  /**
   * Takes the logits of some tokens, the best `count` of them in descending order; 0 = all, in any.
   * @throws MODEL_INVALID as `load`, for a logit it looks at
   */
  loadAllowed(row: Float32Array, allowed: AllowedTokens, count: number, edits?: Edits): void {
    if (count > 0 && edits === undefined && allowed.ids === undefined) {
      this.loadBestAllowed(row, allowed, count);
      return;
    }
    this.size = allowed.ids === undefined ? this.gatherBits(allowed.bits) : this.gather(allowed.ids);
    const { ids, logits, size } = this;
    let sound = true;
    for (let i = 0; i < size; i++) {
      const value = row[ids[i]!]!;
      sound &&= value < Number.POSITIVE_INFINITY;
      logits[i] = value;
    }
    if (!sound) refuse(row);
    if (edits !== undefined && edits.size > 0) {
      for (let i = 0; i < size; i++) if (edits.marks[ids[i]!] === 1) logits[i] = edits.values[ids[i]!]!;
    }
    this.sorted = false;
    if (count > 0) this.keepBest(count);
  }

  private loadBestAllowed(row: Float32Array, allowed: AllowedTokens, count: number): void {
    const { ids, logits } = this;
    const keep = Math.min(count, allowed.count);
    allowed.banned ??= bannedOf(allowed.bits, row.length);
    const { banned } = allowed;
    const filled = keep === 0 ? 0 : (this.scan?.(row, banned, keep, ids, logits) ?? this.scanHere(row, banned, keep));
    if (filled < 0) refuse(row);
    this.size = filled;
    this.sortHeap(filled);
  }

  private gather(ids: Int32Array): number {
    this.ids.set(ids);
    return ids.length;
  }

  private gatherBits(bits: Uint32Array): number {
    const { ids } = this;
    let size = 0;
    for (let w = 0; w < bits.length; w++) {
      for (let word = bits[w]!; word !== 0; word &= word - 1) ids[size++] = 32 * w + 31 - Math.clz32(word & -word);
    }
    return size;
  }

  /** The scan where there is no other.  @throws MODEL_INVALID */
  private scanHere(row: Float32Array, marks: Uint8Array | null, keep: number): number {
    const { ids, logits } = this;
    let filled = 0;
    let at = 0;
    for (; filled < keep && at < row.length; at++) {
      if (!(row[at]! < Number.POSITIVE_INFINITY)) refuse(row);
      if (marks !== null && marks[at] === 1) continue;
      ids[filled] = at;
      logits[filled++] = row[at]!;
    }
    this.heapWorst(filled);
    // Of equal logits the lower id goes first, and that is the one that is there.
    for (at = above(row, at, logits[0]!); at < row.length; at = above(row, at + 1, logits[0]!)) {
      if (marks === null || marks[at] === 0) this.replaceWorst(at, row[at]!, keep);
    }
    return filled;
  }

  /** Index of the best candidate. */
  best(): number {
    if (this.sorted) return 0;
    let best = 0;
    for (let i = 1; i < this.size; i++) if (this.before(i, best)) best = i;
    return best;
  }

  before(i: number, j: number): boolean {
    const a = this.logits[i]!;
    const b = this.logits[j]!;
    return a > b || (a === b && this.ids[i]! < this.ids[j]!);
  }

  swap(i: number, j: number): void {
    const id = this.ids[i]!;
    this.ids[i] = this.ids[j]!;
    this.ids[j] = id;
    const logit = this.logits[i]!;
    this.logits[i] = this.logits[j]!;
    this.logits[j] = logit;
  }

  /**
   * Puts the best `count` candidates in front, in descending order, and drops the rest. A heap of `count` over one
   * scan: 262,144 logits with count 40 cost about one comparison each.
   */
  keepBest(count: number): void {
    const keep = Math.min(count, this.size);
    if (!this.sorted) {
      this.heapWorst(keep);
      for (let i = keep; i < this.size; i++) {
        if (!this.before(i, 0)) continue;
        this.swap(i, 0);
        this.siftWorst(0, keep);
      }
      this.sortHeap(keep);
    }
    this.size = keep;
  }

  /** Descending order of a heap with the worst on top. */
  private sortHeap(size: number): void {
    for (let end = size - 1; end > 0; end--) {
      this.swap(0, end);
      this.siftWorst(0, end);
    }
    this.sorted = true;
  }

  /**
   * Sorts just as far as needed: candidates are handed to `wanted` best first until it returns false; the one that got
   * false is kept, the others are dropped. Cost O(size + kept * log size).
   */
  keepWhile(wanted: (index: number) => boolean): void {
    if (this.sorted) {
      let kept = 0;
      while (kept < this.size && wanted(kept++));
      this.size = kept;
      return;
    }
    const total = this.size;
    for (let i = (total >> 1) - 1; i >= 0; i--) this.siftBest(i, total);
    let end = total;
    while (end > 0) {
      end--;
      this.swap(0, end);
      this.siftBest(0, end);
      if (!wanted(end)) break;
    }
    const kept = total - end;
    // The best lie at the end, ascending.
    for (let i = end, j = total - 1; i < j; i++, j--) this.swap(i, j);
    this.ids.copyWithin(0, end, total);
    this.logits.copyWithin(0, end, total);
    this.size = kept;
    this.sorted = true;
  }

  /** Drops what has a logit below `least`; the order stays. */
  keepFrom(least: number): void {
    const { ids, logits, size } = this;
    let kept = 0;
    for (let i = 0; i < size; i++) {
      const logit = logits[i]!;
      if (logit < least) continue;
      ids[kept] = ids[i]!;
      logits[kept++] = logit;
    }
    this.size = kept;
  }

  /** weights[i] = exp(logits[i] - max).  @returns their sum */
  softmax(): number {
    const { logits, weights, size } = this;
    const max = logits[this.best()]!;
    let sum = 0;
    for (let i = 0; i < size; i++) {
      const weight = Math.exp(logits[i]! - max);
      weights[i] = weight;
      sum += weight;
    }
    return sum;
  }

  private replaceWorst(id: number, logit: number, size: number): void {
    this.ids[0] = id;
    this.logits[0] = logit;
    this.siftWorst(0, size);
  }

  private heapWorst(size: number): void {
    for (let i = (size >> 1) - 1; i >= 0; i--) this.siftWorst(i, size);
  }

  /** Heap with the worst candidate on top, over [0, size). */
  private siftWorst(at: number, size: number): void {
    let parent = at;
    for (;;) {
      let child = 2 * parent + 1;
      if (child >= size) return;
      if (child + 1 < size && this.before(child, child + 1)) child++;
      if (!this.before(parent, child)) return;
      this.swap(parent, child);
      parent = child;
    }
  }

  /** Heap with the best candidate on top, over [0, size). */
  private siftBest(at: number, size: number): void {
    let parent = at;
    for (;;) {
      let child = 2 * parent + 1;
      if (child >= size) return;
      if (child + 1 < size && this.before(child + 1, child)) child++;
      if (!this.before(child, parent)) return;
      this.swap(parent, child);
      parent = child;
    }
  }
}

/** Marks of the tokens that may not come, as scans take them. */
function bannedOf(bits: Uint32Array, vocab: number): Uint8Array {
  const banned = new Uint8Array(vocab);
  for (let id = 0; id < vocab; id++) banned[id] = ((bits[id >> 5]! >>> (id & 31)) & 1) ^ 1;
  return banned;
}

/**
 * The first index from `at` on whose logit is above `bound`, the length when there is none. A loop of its own, eight
 * at a time: one with the heap in it takes five times as long.
 * @throws MODEL_INVALID when a logit it passes is no number or +Infinity
 */
function above(row: Float32Array, at: number, bound: number): number {
  const whole = row.length - 7;
  const end = Number.POSITIVE_INFINITY;
  let sound = true;
  let i = at;
  for (; i < whole; i += 8) {
    const a = row[i]!;
    const b = row[i + 1]!;
    const c = row[i + 2]!;
    const d = row[i + 3]!;
    const e = row[i + 4]!;
    const f = row[i + 5]!;
    const g = row[i + 6]!;
    const h = row[i + 7]!;
    sound &&= a < end && b < end && c < end && d < end && e < end && f < end && g < end && h < end;
    if (a > bound || b > bound || c > bound || d > bound || e > bound || f > bound || g > bound || h > bound) break;
  }
  for (; i < row.length; i++) {
    const value = row[i]!;
    sound &&= value < end;
    if (value > bound) break;
  }
  if (!sound) refuse(row);
  return i;
}

/** @throws MODEL_INVALID when a logit of the row is not finite */
export function checkLogits(row: Float32Array): void {
  above(row, 0, Number.POSITIVE_INFINITY);
}

function refuse(row: Float32Array): never {
  const token = row.findIndex((value) => !(value < Number.POSITIVE_INFINITY));
  const value = row[token];
  throw new HundredweightError(
    "MODEL_INVALID",
    `the model gave ${value} as the logit of token ${token}: its weights are damaged or overflow; ` +
      "check the file (run --check names the layer)",
    { token, logit: String(value) },
  );
}
