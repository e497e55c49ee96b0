/**
 * Sequences that are done and kept for their past: a conversation goes on, a system prompt comes again. They hold pages
 * nobody else needs; the least recently used goes first when somebody does, from its end. Where a model's states
 * cannot go back, each also holds a slot, and is a checkpoint: then the one goes first whose loss would cost fewest
 * tokens for how long it lies there.
 */

import { pagePositions } from "../ops/ops.js";
import type { StateCache } from "../state/cache.js";

interface Kept {
  readonly sequence: number;
  tokens: Int32Array;
  /** 0: never, as what was only scored. */
  usedAt: number;
  /** `floor` when it was last used: of checkpoints. */
  base: number;
}

/** A sequence with tokens; `tokens` may hold more than the sequence has evaluated. */
export interface Timeline {
  readonly sequence: number;
  readonly tokens: Int32Array;
}

export interface Prefix {
  readonly sequence: number;
  /** Leading tokens that are there already. */
  readonly length: number;
}

export class PrefixCache {
  private readonly cache: StateCache;
  private readonly most: number;
  private readonly kept = new Map<number, Kept>();
  private clock = 0;
  /**
   * The worth of the last checkpoint that went: those that lie unused since before are worth that much less than
   * others.
   */
  private floor = 0;

  /** @param most sequences that may be kept */
  constructor(cache: StateCache, most: number) {
    this.cache = cache;
    this.most = most;
  }

  get size(): number {
    return this.kept.size;
  }

  /**
   * Keeps a sequence that nobody grows any more. What it makes superfluous goes.
   * @param spare it counts as never used: it takes nobody's place and is the first to go
   */
  keep({ sequence, tokens }: Timeline, spare = false): void {
    const { cache } = this;
    cache.settle(sequence);
    const length = cache.length(sequence);
    const own = tokens.slice(0, length);
    let usedAt = spare ? 0 : ++this.clock;
    for (const old of this.kept.values()) {
      const common = commonPrefix(old.tokens, own);
      if (common === length && cache.rewindTarget(old.sequence, length) === length) {
        old.usedAt = Math.max(old.usedAt, usedAt);
        old.base = this.floor;
        cache.release(sequence);
        return;
      }
      if (common < old.tokens.length || cache.rewindTarget(sequence, common) < common) continue;
      usedAt = Math.max(usedAt, old.usedAt);
      this.drop(old);
    }
    const full = this.kept.size >= this.most;
    if (length === 0 || (full && usedAt === 0 && this.oldest()!.usedAt > 0)) {
      cache.release(sequence);
      return;
    }
    if (full) this.dropOldest();
    this.kept.set(sequence, { sequence, tokens: own, usedAt, base: this.floor });
  }

  /**
   * A sequence that begins with as many of `tokens[0, limit)` as any that is kept or still grows.
   * @returns an open sequence of the caller's own, of that length; a new one when nothing is there
   */
  open(tokens: Int32Array, limit: number, growing: Iterable<Timeline>): Prefix {
    const { cache } = this;
    let best: { readonly from: Timeline; readonly length: number } | undefined;
    for (const from of [...this.kept.values(), ...growing]) {
      const end = Math.min(limit, cache.length(from.sequence));
      const length = cache.rewindTarget(from.sequence, commonPrefix(from.tokens, tokens, end));
      if (length > (best?.length ?? 0)) best = { from, length };
    }
    if (best === undefined) return { sequence: cache.openSequence(), length: 0 };
    const { from, length } = best;
    const old = this.kept.get(from.sequence);
    if (old !== undefined) {
      old.usedAt = ++this.clock;
      old.base = this.floor;
    }
    const sequence = cache.fork(from.sequence);
    cache.rewind(sequence, length);
    return { sequence, length };
  }

  /** Leading tokens of `tokens[0, limit)` that kept sequences could give. */
  longest(tokens: Int32Array, limit: number): number {
    let most = 0;
    for (const kept of this.kept.values()) {
      const common = commonPrefix(kept.tokens, tokens, limit);
      if (common > most) most = Math.max(most, this.cache.rewindTarget(kept.sequence, common));
    }
    return most;
  }

  /**
   * Gives up the last page of the least recently used one, the whole where going back is not possible: beginnings are
   * what is asked for again. @returns whether there was one
   */
  evict(): boolean {
    const oldest = this.oldest();
    if (oldest === undefined) return false;
    if (this.cache.slots !== undefined) {
      this.floor = Math.max(this.floor, this.worth(oldest));
      this.drop(oldest);
      return true;
    }
    const end = Math.floor((this.cache.length(oldest.sequence) - 1) / pagePositions) * pagePositions;
    const reached = this.cache.rewind(oldest.sequence, end);
    if (reached === 0) this.drop(oldest);
    else oldest.tokens = oldest.tokens.subarray(0, reached);
    return true;
  }

  /** Gives up as much as these rows need.  @returns whether that was enough */
  makeRoom(parts: readonly { readonly sequence: number; readonly rows: number }[]): boolean {
    while (!this.cache.hasRoomFor(parts)) if (!this.evict()) return false;
    return true;
  }

  /**
   * Slots for the marks of a pass, for whose rows there is room. Where no other checkpoint is left to go, some are
   * not made.
   */
  makeRoomForMarks(
    parts: readonly { readonly sequence: number; readonly rows: number; marks: readonly number[] }[],
  ): void {
    for (;;) {
      const marked = parts.filter(({ marks }) => marks.length > 0);
      const marks = marked.reduce((sum, part) => sum + part.marks.length, 0);
      if (marks === 0 || this.cache.hasRoomFor(parts, marks)) return;
      if (!this.evict()) marked[0]!.marks = marked[0]!.marks.slice(1);
    }
  }

  private dropOldest(): void {
    const oldest = this.oldest();
    if (oldest !== undefined) this.drop(oldest);
  }

  private oldest(): Kept | undefined {
    let oldest: Kept | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const kept of this.kept.values()) {
      const worth = this.worth(kept);
      if (worth < least) [oldest, least] = [kept, worth];
    }
    return oldest;
  }

  /** The least worth goes first: without slots what was used longest ago. */
  private worth({ usedAt, base, tokens }: Kept): number {
    if (this.cache.slots === undefined || usedAt === 0) return usedAt;
    let left = 0;
    for (const other of this.kept.values()) {
      const { length } = other.tokens;
      if (length < tokens.length && length > left && commonPrefix(other.tokens, tokens) === length) left = length;
    }
    return base + tokens.length - left;
  }

  private drop({ sequence }: Kept): void {
    this.kept.delete(sequence);
    this.cache.release(sequence);
  }
}

/** How many leading tokens two lists share. */
export function commonPrefix(a: Int32Array, b: Int32Array, end = Math.min(a.length, b.length)): number {
  const most = Math.min(end, a.length, b.length);
  let common = 0;
  while (common < most && a[common] === b[common]) common++;
  return common;
}
