/**
 * Sequences that are done and kept for their past: a conversation goes on, a system prompt comes again. They hold pages
 * nobody else needs; the one that is worth least goes first when somebody does, from its end. The worth of one is the
 * time it would take to evaluate it again, less what others that are kept would give, times how often it was gone on
 * with, and it halves with time: a side request takes the place of other side requests, not of the long conversation
 * beside which it was asked.
 *
 * Where a model's states cannot go back, each also holds a slot, and is a checkpoint, which goes as a whole.
 */
import { pagePositions } from "../ops/ops.js";
import type { StateCache } from "../state/cache.js";
import type { AdapterScales } from "./jobs.js";

interface Kept {
  readonly sequence: number;
  tokens: Int32Array;
  /** The adapters it was made with: it is no past of rows with others. */
  readonly adapters: AdapterScales | undefined;
  readonly scope: string | undefined;
  /** Milliseconds; 0: never, as what was only scored. */
  usedAt: number;
  /** Times that a prompt went on with it, or with what it is most of. */
  goneOn: number;
  /** Leading tokens that each other one gives this one's owner, as both were when they met: either may be shorter. */
  readonly shared: Map<Kept, number>;
}

/** A sequence with tokens; `tokens` may hold more than the sequence has evaluated. */
export interface Timeline {
  readonly sequence: number;
  readonly tokens: Int32Array;
  /** Absent: none. */
  readonly adapters?: AdapterScales | undefined;
  /** The name of its owner, who alone finds it. Absent or empty: nobody in particular, and everybody finds it. */
  readonly scope?: string | undefined;
}

/** Tokens that are to be evaluated, by which adapters and for whom. */
export type Asked = Omit<Timeline, "sequence">;

export interface Prefix {
  readonly sequence: number;
  /** Leading tokens that are there already. */
  readonly length: number;
}

/** The part of the beginning of a prompt that is kept. */
export interface Known {
  /** Leading tokens that need not be evaluated. */
  readonly reused: number;
  /** Leading tokens that are the same as in a past: more than `reused` where a model's states cannot go back. */
  readonly shared: number;
  /** Tokens of that past. */
  readonly length: number;
}

export interface PrefixOptions {
  readonly cache: StateCache;
  /** Sequences that may be kept. */
  readonly most: number;
  /** Milliseconds that a token of a prompt takes, as far as it is known. */
  readonly rowMs?: () => number;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
  /** Asks others who hold pages without need to give them back.  @returns whether there were any */
  readonly spare?: () => boolean;
}

/** A talk that was gone on with before will be again: that counts up to here. */
const mostGoneOn = 8;
/** The worth of a past halves after this, and so many times what it took to make it: what is dear is kept longer. */
const halfLifeMs = 5 * 60_000;
const timesRebuilt = 20;

export class PrefixCache {
  private readonly cache: StateCache;
  private readonly most: number;
  private readonly rowMs: () => number;
  private readonly now: () => number;
  private readonly spare: () => boolean;
  private readonly kept = new Map<number, Kept>();

  constructor({ cache, most, rowMs = () => 1, now = () => performance.now(), spare }: PrefixOptions) {
    this.cache = cache;
    this.most = most;
    this.rowMs = rowMs;
    this.now = now;
    this.spare = spare ?? (() => false);
  }

  get size(): number {
    return this.kept.size;
  }

  /**
   * Keeps a sequence that nobody grows any more. What it makes superfluous goes. Where as many are kept as may be, the
   * one that is worth least goes, be it this one.
   * @param spare it counts as never used: it takes nobody's place and is the first to go
   */
  keep({ sequence, tokens, adapters, scope }: Timeline, spare = false): void {
    const { cache } = this;
    cache.settle(sequence);
    const length = cache.length(sequence);
    const own = tokens.slice(0, length);
    const usedAt = spare ? 0 : this.now();
    const met = new Map<Kept, number>();
    const entry: Kept = { sequence, tokens: own, adapters, scope, usedAt, goneOn: 0, shared: new Map() };
    for (const old of this.kept.values()) {
      const common = sameAdapters(old, entry) ? commonPrefix(old.tokens, own) : 0;
      const given = isFor(old, entry) ? common : 0;
      const taken = isFor(entry, old) ? common : 0;
      if (given === length && cache.rewindTarget(old.sequence, length) === length) {
        old.usedAt = Math.max(old.usedAt, entry.usedAt);
        cache.release(sequence);
        return;
      }
      if (taken === old.tokens.length && 2 * taken >= length) entry.goneOn = Math.max(entry.goneOn, old.goneOn);
      if (taken < old.tokens.length || cache.rewindTarget(sequence, taken) < taken) {
        entry.shared.set(old, given);
        met.set(old, taken);
        continue;
      }
      entry.usedAt = Math.max(entry.usedAt, old.usedAt);
      this.drop(old);
    }
    if (length === 0) {
      cache.release(sequence);
      return;
    }
    for (const [old, taken] of met) old.shared.set(entry, taken);
    this.kept.set(sequence, entry);
    if (this.kept.size > this.most) this.drop(this.least()!);
  }

  /**
   * A sequence that begins with as many of the asked tokens before `limit` as any that is kept or still grows.
   * @returns an open sequence of the caller's own, of that length; a new one when nothing is there
   */
  open(asked: Asked, limit: number, growing: Iterable<Timeline>): Prefix {
    const { cache } = this;
    let best: { readonly from: Timeline; readonly length: number } | undefined;
    for (const from of [...this.kept.values(), ...growing]) {
      const end = Math.min(limit, cache.length(from.sequence));
      const length = cache.rewindTarget(from.sequence, commonPast(from, asked, end));
      if (length > (best?.length ?? 0)) best = { from, length };
    }
    if (best === undefined) return { sequence: cache.openSequence(), length: 0 };
    const { from, length } = best;
    const old = this.kept.get(from.sequence);
    if (old !== undefined) {
      old.usedAt = this.now();
      old.goneOn = Math.min(mostGoneOn, old.goneOn + 1);
    }
    const sequence = cache.fork(from.sequence);
    cache.rewind(sequence, length);
    return { sequence, length };
  }

  /** Finds what is there of the asked tokens before `limit`, in the past that shares most of it. */
  known(asked: Asked, limit: number, growing: Iterable<Timeline>): Known {
    const { cache } = this;
    let [reused, shared, length] = [0, 0, 0];
    for (const from of [...this.kept.values(), ...growing]) {
      // Not even how long it is.
      if (!isFor(from, asked)) continue;
      const past = from.tokens.subarray(0, cache.length(from.sequence));
      const common = commonPast({ ...from, tokens: past }, asked, limit);
      reused = Math.max(reused, cache.rewindTarget(from.sequence, common));
      if (common > shared || (common === shared && past.length > length)) [shared, length] = [common, past.length];
    }
    return { reused, shared, length };
  }

  /** Leading tokens of those asked before `limit` that kept sequences could give. */
  longest(asked: Asked, limit: number): number {
    let most = 0;
    for (const kept of this.kept.values()) {
      const common = commonPast(kept, asked, limit);
      if (common > most) most = Math.max(most, this.cache.rewindTarget(kept.sequence, common));
    }
    return most;
  }

  /**
   * Gives up the last page of what is worth least, the whole where going back is not possible: beginnings are what is
   * asked for again. @returns whether there was one
   */
  evict(): boolean {
    const least = this.least();
    if (least === undefined) return false;
    if (this.cache.slots !== undefined || this.own(least) === 0) {
      this.drop(least);
      return true;
    }
    const end = Math.floor((this.cache.length(least.sequence) - 1) / pagePositions) * pagePositions;
    const reached = this.cache.rewind(least.sequence, end);
    if (reached === 0) this.drop(least);
    else least.tokens = least.tokens.subarray(0, reached);
    return true;
  }

  /** Gives up a page that is only kept, if there is one. */
  giveUp(): boolean {
    return this.spare() || this.evict();
  }

  /** Gives up as much as these rows need.  @returns whether that was enough */
  makeRoom(parts: readonly { readonly sequence: number; readonly rows: number }[]): boolean {
    while (!this.cache.hasRoomFor(parts)) if (!this.giveUp()) return false;
    return true;
  }

  /**
   * Slots for the marks of a pass, for whose rows there is room. A mark that is worth less than any checkpoint there
   * is not made: it takes nobody's place.
   */
  makeRoomForMarks(
    parts: readonly {
      readonly sequence: number;
      readonly rows: number;
      readonly from: number;
      marks: readonly number[];
    }[],
  ): void {
    for (;;) {
      let cheapest:
        | { readonly part: (typeof parts)[number]; readonly mark: number; readonly worth: number }
        | undefined;
      let count = 0;
      for (const part of parts) {
        count += part.marks.length;
        for (const [i, mark] of part.marks.entries()) {
          const worth = this.rebuildMs(mark - (part.marks[i - 1] ?? part.from));
          if (worth < (cheapest?.worth ?? Number.POSITIVE_INFINITY)) cheapest = { part, mark, worth };
        }
      }
      if (cheapest === undefined || this.cache.hasRoomFor(parts, count)) return;
      if (this.spare()) continue;
      const least = this.least();
      if (least !== undefined && this.worth(least) <= cheapest.worth) this.drop(least);
      else cheapest.part.marks = cheapest.part.marks.filter((mark) => mark !== cheapest.mark);
    }
  }

  private least(): Kept | undefined {
    let found: Kept | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const kept of this.kept.values()) {
      const worth = this.worth(kept);
      if (worth < least) [found, least] = [kept, worth];
    }
    return found;
  }

  private worth(kept: Kept): number {
    if (kept.usedAt === 0) return 0;
    const rebuildMs = this.rebuildMs(this.own(kept));
    return (1 + kept.goneOn) * rebuildMs * 2 ** ((kept.usedAt - this.now()) / (halfLifeMs + timesRebuilt * rebuildMs));
  }

  private rebuildMs(tokens: number): number {
    return tokens * this.rowMs();
  }

  /** Tokens that would have to be evaluated again if this one went and all others stayed. */
  private own({ tokens, shared }: Kept): number {
    const whole = this.cache.slots !== undefined;
    let left = 0;
    for (const [other, met] of shared) {
      const common = Math.min(met, other.tokens.length, tokens.length);
      // What cannot go back gives nothing but the whole of it.
      if (!whole || (common === other.tokens.length && common < tokens.length)) left = Math.max(left, common);
    }
    return tokens.length - left;
  }

  private drop(kept: Kept): void {
    this.kept.delete(kept.sequence);
    for (const other of kept.shared.keys()) other.shared.delete(kept);
    this.cache.release(kept.sequence);
  }
}

/** How many leading tokens a past gives those who ask: none with other adapters, and none of another owner. */
export function commonPast(from: Asked, asked: Asked, end?: number): number {
  return isFor(from, asked) && sameAdapters(from, asked) ? commonPrefix(from.tokens, asked.tokens, end) : 0;
}

/** The part of a task that says which pasts it finds, and who finds its own. */
export function pastOf({ tokens, adapters, scope }: Asked): Asked {
  return { tokens, adapters, scope };
}

function sameAdapters({ adapters: a = [] }: Asked, { adapters: b = [] }: Asked): boolean {
  return a.length === b.length && a.every((scale, i) => scale === b[i]);
}

/**
 * Whether an owner finds a past: that shows as time, so what others wrote must not be found by guessing it (decision
 * 0111).
 */
function isFor({ scope: owner = "" }: Asked, { scope = "" }: Asked): boolean {
  return owner === "" || owner === scope;
}

/** How many leading tokens two lists share. */
export function commonPrefix(a: Int32Array, b: Int32Array, end = Math.min(a.length, b.length)): number {
  const most = Math.min(end, a.length, b.length);
  let common = 0;
  while (common < most && a[common] === b[common]) common++;
  return common;
}
