/**
 * The interface of every kind of state, whatever it keeps of a sequence. Two mechanisms do: pages of positions
 * (paged.ts: keys and values, latent vectors, rows) and slots that hold the state at one position (slotted.ts:
 * recurrent). Lengths are the cache's.
 */

/** Rows [from, from + rows) of a sequence, whose length is `from`. */
export interface Growth {
  readonly sequence: number;
  readonly from: number;
  readonly rows: number;
}

/** The uses that rows of a pass have besides. */
export interface GrowthUse {
  /** Rows behind the first may be refused when the pass is over. */
  readonly drafts?: boolean;
  /** Positions in (from, from + rows] at which a fork may begin when the pass is over: `StateCache.fork`. */
  readonly marks?: readonly number[];
}

export interface StateKind {
  /**
   * Whether there is room for all of these in one pass, and `marks` of them. Gives back what none of their rows can
   * see.
   */
  hasRoomFor(parts: readonly Growth[], marks: number): boolean;
  /** Takes the room, which is there. */
  append(growth: Growth, use: GrowthUse): void;
  /** The last pass of this sequence holds: nobody goes back into it. */
  settle(sequence: number): void;
  /** The largest position up to `position` that this kind can go back to; `length` and 0 always are such. */
  rewindTarget(sequence: number, position: number, length: number): number;
  /** Forgets the rows from `target` on, which `rewindTarget` gave. */
  rewind(sequence: number, target: number, length: number): void;
  /** Whether a fork may begin at this position. */
  canFork(sequence: number, position: number, length: number): boolean;
  /** `to`, which is empty, gets the past of `from` before `position`, at which it may begin. */
  fork(from: number, to: number, position: number, length: number): void;
  /**
   * Whether these sequences can all grow to their numbers of positions, in any order, when every other one is released.
   * @param lengthOf a sequence
   */
  canGrow(positions: ReadonlyMap<number, number>, lengthOf: (sequence: number) => number): boolean;
  /** Whether there is room for the past of so many positions, beside all that is held. */
  canClaim(length: number): boolean;
  /** The same where every sequence but these were released, which may each take one unit more meanwhile. */
  couldClaim(length: number, beside: readonly number[]): boolean;
  /** Takes for an empty sequence what a past of `length` positions holds; the caller fills in its bytes. */
  claim(sequence: number, length: number): void;
  /** Takes a further hold on units of a sequence, which keeps them as they are. */
  retain(units: Iterable<number>): void;
  release(units: Iterable<number>): void;
  /** The units that a sequence holds. */
  snapshot(sequence: number, length: number): UnitSnapshot;
  /** Units that are free, all there are, the most that were ever in use. */
  readonly units: { readonly free: number; readonly count: number; readonly most: number };
}

/**
 * Where the bytes of a sequence are: ids of pages by block, -1 where forgotten, or the one slot; -1 for an empty
 * state.
 */
export interface UnitSnapshot {
  readonly kind: "pages" | "slot";
  readonly units: readonly number[];
}
