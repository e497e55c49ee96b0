/**
 * Sequences that are done and kept for their past: a conversation goes on, a system prompt comes again. They hold pages
 * nobody else needs; the least recently used goes first when somebody does, from its end.
 */
import type { KvCache } from "../kv/cache.js";
import { pagePositions } from "../ops/ops.js";

interface Kept {
  readonly sequence: number;
  tokens: Int32Array;
  usedAt: number;
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
  private readonly cache: KvCache;
  private readonly most: number;
  private readonly kept = new Map<number, Kept>();
  private clock = 0;

  /** @param most sequences that may be kept */
  constructor(cache: KvCache, most: number) {
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
    const length = cache.length(sequence);
    const own = tokens.slice(0, length);
    let usedAt = spare ? 0 : ++this.clock;
    for (const old of this.kept.values()) {
      const common = commonPrefix(old.tokens, own);
      if (common === length && cache.rewindTarget(old.sequence, length) === length) {
        old.usedAt = Math.max(old.usedAt, usedAt);
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
    this.kept.set(sequence, { sequence, tokens: own, usedAt });
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
    if (old !== undefined) old.usedAt = ++this.clock;
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
   * Gives up the last page of the least recently used one, the whole where going back is not possible: beginnings are what
   * is asked for again.  @returns whether there was one
   */
  evict(): boolean {
    const oldest = this.oldest();
    if (oldest === undefined) return false;
    const end = Math.floor((this.cache.length(oldest.sequence) - 1) / pagePositions) * pagePositions;
    if (this.cache.rewind(oldest.sequence, end) === 0) this.drop(oldest);
    else oldest.tokens = oldest.tokens.subarray(0, end);
    return true;
  }

  /** Gives up as much as these rows need.  @returns whether that was enough */
  makeRoom(parts: readonly { readonly sequence: number; readonly rows: number }[]): boolean {
    while (!this.cache.hasRoomFor(parts)) if (!this.evict()) return false;
    return true;
  }

  private dropOldest(): void {
    const oldest = this.oldest();
    if (oldest !== undefined) this.drop(oldest);
  }

  private oldest(): Kept | undefined {
    let oldest: Kept | undefined;
    for (const kept of this.kept.values()) if (oldest === undefined || kept.usedAt < oldest.usedAt) oldest = kept;
    return oldest;
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
