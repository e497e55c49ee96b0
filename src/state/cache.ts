/**
 * The states of all sequences, whatever the kinds of the model's states: one object opens, grows, rewinds, forks and
 * releases a sequence in all of them. Paged pools come first, in the order in which the model made them; then its
 * slots, where it has some.
 */
import { HundredweightError } from "../errors.js";
import { pagePositions } from "../ops/ops.js";
import type { Growth, GrowthUse, StateKind, UnitSnapshot } from "./kind.js";
import { type MovedBytes, PagedState } from "./paged.js";
import { type Replay, SlottedState } from "./slotted.js";

export interface PagedShape {
  readonly pages: number;
  /** A row at position p sees keys from p - window + 1; 0 = all. */
  readonly window: number;
  /** So many positions make a row; default 1. */
  readonly every?: number | undefined;
}

/** A pool of states that are replaced. */
export interface SlottedShape {
  readonly slots: number;
  readonly keeps: number;
  readonly keptRows: number;
}

export interface StateCacheOptions {
  readonly groups: readonly PagedShape[];
  readonly slots?: SlottedShape | undefined;
  /** Sequences that can be open at once. */
  readonly sequences: number;
  /** How many of these grow at the same time; the others are kept for their past. Default: all. */
  readonly growing?: number;
  /** Positions a sequence may reach. */
  readonly contextTokens: number;
  /** Most rows one sequence appends in a pass. */
  readonly maxRows: number;
  /** Copies a page of a group with all its layers. */
  copyPage(group: number, from: number, to: number): void;
  /** The bytes of a group's pages that go to other positions; absent: nothing is left out of sequences. */
  moved?(group: number): MovedBytes;
  /** Absent: there are no slots. */
  replay?(replay: Replay): void;
}

/** The units that a sequence holds, in the order of the kinds: enough to find its bytes. */
export interface StateSnapshot {
  readonly length: number;
  readonly kinds: readonly UnitSnapshot[];
}

/** Somebody who stores a part of what sequences keep later than their rows are appended. */
export interface SequenceWatcher {
  /** Others are about to see the bytes of this sequence: what is missing is stored now. */
  seen(sequence: number): void;
  /** Rows before this position are stored, those from it on may hold what others left; Infinity: none is missing. */
  storedBefore(sequence: number): number;
  /** `copy` shares the past of `sequence` before `position`. */
  forked(sequence: number, copy: number, position: number): void;
  /** Rows from `position` on are gone. */
  rewound(sequence: number, position: number): void;
  /** Rows behind `position` are no longer where they were, and their keys were turned. */
  moved(sequence: number, position: number): void;
}

export class StateCache {
  readonly contextTokens: number;
  /** Absent: all bytes are stored by the passes that append their rows. */
  watcher: SequenceWatcher | undefined;
  /** Per group, per sequence: page ids, -1 where absent. The same arrays for the life of the cache. */
  readonly blockTables: readonly (readonly Int32Array[])[];
  private readonly paged: readonly PagedState[];
  private readonly slotted: SlottedState | undefined;
  private readonly kinds: readonly StateKind[];
  private readonly moved: StateCacheOptions["moved"];
  private readonly lengths: Int32Array;
  private readonly open: Uint8Array;

  constructor(options: StateCacheOptions) {
    const { sequences, contextTokens, growing = sequences, maxRows, groups, slots } = options;
    this.contextTokens = contextTokens;
    this.paged = groups.map(
      (shape, group) =>
        new PagedState({
          ...shape,
          sequences,
          growing,
          contextTokens,
          maxRows,
          copyPage: (from, to) => options.copyPage(group, from, to),
        }),
    );
    this.moved = options.moved?.bind(options);
    const replay = options.replay ?? noReplay;
    this.slotted = slots === undefined ? undefined : new SlottedState({ ...slots, sequences, replay });
    this.kinds = this.slotted === undefined ? this.paged : [...this.paged, this.slotted];
    this.blockTables = this.paged.map(({ tables }) => tables);
    this.lengths = new Int32Array(sequences);
    this.open = new Uint8Array(sequences);
  }

  /** Opens an empty sequence.  @throws CONTEXT_EXCEEDED when as many are open as there may be */
  openSequence(): number {
    const sequence = this.open.indexOf(0);
    if (sequence < 0) {
      throw new HundredweightError("CONTEXT_EXCEEDED", `all ${this.open.length} sequences are in use; close one`);
    }
    this.open[sequence] = 1;
    this.lengths[sequence] = 0;
    return sequence;
  }

  length(sequence: number): number {
    this.check(sequence);
    return this.lengths[sequence]!;
  }

  /** Units that are free, of each kind: pages of each group, then slots. */
  freeUnits(): number[] {
    return this.kinds.map(({ units }) => units.free);
  }

  /** Most units that were ever in use, of each kind. */
  touchedUnits(): number[] {
    return this.kinds.map(({ units }) => units.most);
  }

  /**
   * Makes room for rows [length, length + rows). What no later row can see is given back before; on failure nothing has
   * changed but that.
   * @throws CONTEXT_EXCEEDED beyond the context, or when there is no room left
   */
  append(sequence: number, rows: number, use: GrowthUse = {}): void {
    this.check(sequence);
    const from = this.lengths[sequence]!;
    const to = from + rows;
    if (to > this.contextTokens) {
      throw new HundredweightError("CONTEXT_EXCEEDED", `${to} tokens do not fit a context of ${this.contextTokens}`, {
        tokens: to,
        contextTokens: this.contextTokens,
      });
    }
    if (rows <= 0) return;
    if (!this.hasRoomFor([{ sequence, rows }], use.marks?.length)) {
      const pages = this.paged.map(({ units }) => units.free).join(" + ");
      const slots = this.slotted === undefined ? "" : ` and ${this.slotted.units.free} free state slots`;
      throw new HundredweightError(
        "CONTEXT_EXCEEDED",
        `the KV cache has ${pages} free pages of ${pagePositions} positions${slots}, too few for ` +
          `${rows} more; raise the context or close other sequences`,
      );
    }
    const growth = { sequence, from, rows };
    for (const kind of this.kinds) kind.append(growth, use);
    this.lengths[sequence] = to;
  }

  /** The last pass of this sequence holds: what was kept to go back into it is given back. */
  settle(sequence: number): void {
    this.check(sequence);
    for (const kind of this.kinds) kind.settle(sequence);
  }

  /** Whether there is room for so many rows more. Gives back what the first of them cannot see. */
  hasRoom(sequence: number, rows: number): boolean {
    return this.hasRoomFor([{ sequence, rows }]);
  }

  /** The same for several that grow in one pass, with so many marks. */
  hasRoomFor(parts: readonly { readonly sequence: number; readonly rows: number }[], marks = 0): boolean {
    const growths = parts.map(({ sequence, rows }): Growth => ({ sequence, from: this.lengths[sequence]!, rows }));
    // All of them: each gives back what it can.
    return this.kinds.map((kind) => kind.hasRoomFor(growths, marks)).every((room) => room);
  }

  /**
   * Whether these sequences can all grow to their numbers of positions, in any order, when every other one is
   * released.
   */
  canGrow(sequences: ReadonlyMap<number, number>): boolean {
    return this.kinds.every((kind) => kind.canGrow(sequences, (sequence) => this.lengths[sequence]!));
  }

  /** Pages that hold something, and all: of the group that never forgets and has a row a position, if there is one. */
  usage(): { readonly used: number; readonly pages: number } {
    const whole = this.paged.find(({ window, every }) => window === 0 && every === 1);
    const units = (whole ?? this.paged[0])?.units ?? { free: 0, count: 0 };
    return { used: units.count - units.free, pages: units.count };
  }

  /** Whether some layers forget what lies behind a window. */
  get windowed(): boolean {
    return this.paged.some(({ window }) => window > 0);
  }

  /** Slots that are free, and all; undefined without states that are replaced. */
  get slots(): StateKind["units"] | undefined {
    return this.slotted?.units;
  }

  /** The position that `rewind` would reach: the largest up to `position` that all kinds can go back to. */
  rewindTarget(sequence: number, position: number): number {
    this.check(sequence);
    const length = this.lengths[sequence]!;
    let target = Math.min(Math.max(0, position), length);
    for (let next = -1; ; target = next) {
      next = Math.min(target, ...this.kinds.map((kind) => kind.rewindTarget(sequence, target, length)));
      if (next === target) return target;
    }
  }

  /**
   * Forgets the rows from `position` on.
   * @returns the position reached: see `rewindTarget`
   */
  rewind(sequence: number, position: number): number {
    const target = this.rewindTarget(sequence, position);
    for (const kind of this.kinds) kind.rewind(sequence, target, this.lengths[sequence]!);
    this.lengths[sequence] = target;
    this.watcher?.rewound(sequence, target);
    return target;
  }

  /** Whether `fork` may begin at this position: the length, or a mark of the last pass until that is settled. */
  canFork(sequence: number, position: number): boolean {
    const length = this.length(sequence);
    return position <= length && this.kinds.every((kind) => kind.canFork(sequence, position, length));
  }

  /**
   * A new sequence with the same past, which both share until one of the two writes; the past before `position` only.
   * @throws CONTEXT_EXCEEDED when as many are open as there may be; INTERNAL for a position that is none to begin at
   */
  fork(sequence: number, position = this.length(sequence)): number {
    if (!this.canFork(sequence, position))
      throw new HundredweightError("INTERNAL", `sequence ${sequence} keeps no state of position ${position}`);
    this.watcher?.seen(sequence);
    const copy = this.openSequence();
    for (const kind of this.kinds) kind.fork(sequence, copy, position, this.lengths[sequence]!);
    this.lengths[copy] = position;
    this.watcher?.forked(sequence, copy, position);
    return copy;
  }

  /** Whether `leaveOut` finds pages for the copies it makes. */
  hasRoomToLeaveOut(sequence: number, from: number, count: number): boolean {
    const length = this.length(sequence);
    return this.paged.every((kind) => kind.hasRoomToMoveDown(sequence, { from, count, length }));
  }

  /**
   * Takes positions [from, from + count) out of a sequence, as many as whole pages: what follows moves down, into pages
   * of its own, and its keys are turned. It is no past of its tokens then, and may only grow and be released.
   * @throws CONTEXT_EXCEEDED without room; INTERNAL for states that have no positions; what `moved` throws, and then
   *   the sequence is good for nothing but `release`
   */
  leaveOut(sequence: number, from: number, count: number): void {
    const { moved } = this;
    const gap = { from, count, length: this.length(sequence) };
    const sound = from >= 0 && count > 0 && count % pagePositions === 0 && from + count <= gap.length;
    if (this.slotted !== undefined || moved === undefined || !sound)
      throw new HundredweightError("INTERNAL", `${count} positions from ${from} on cannot be left out`, gap);
    this.watcher?.moved(sequence, from);
    for (const [group, kind] of this.paged.entries()) kind.moveDown(sequence, gap, moved(group));
    for (const kind of this.paged) kind.close(sequence, gap);
    this.lengths[sequence] = gap.length - count;
  }

  /** Closes the sequence and gives all it holds back. */
  release(sequence: number): void {
    this.rewind(sequence, 0);
    this.settle(sequence);
    this.open[sequence] = 0;
  }

  /** Whether there is room for the past of so many positions beside all that is held. */
  canClaim(length: number): boolean {
    return this.open.includes(0) && length <= this.contextTokens && this.kinds.every((kind) => kind.canClaim(length));
  }

  /** Whether there would be, were all others but these sequences released. */
  couldClaim(length: number, beside: readonly number[]): boolean {
    return length <= this.contextTokens && this.kinds.every((kind) => kind.couldClaim(length, beside));
  }

  /**
   * A sequence with a past of `length` positions that was evaluated elsewhere: the caller fills in the bytes of the
   * units that `snapshot` names before anybody reads them.
   * @throws CONTEXT_EXCEEDED where `canClaim` says no
   */
  claim(length: number): number {
    if (!this.canClaim(length))
      throw new HundredweightError("CONTEXT_EXCEEDED", `the KV cache has no room for a past of ${length} positions`);
    const sequence = this.openSequence();
    for (const kind of this.kinds) kind.claim(sequence, length);
    this.lengths[sequence] = length;
    return sequence;
  }

  /**
   * Keeps units of a kind as they are, whatever becomes of their sequence: full pages are written by nobody while
   * somebody holds them.  @returns gives them back
   */
  hold(kind: number, units: readonly number[]): () => void {
    this.kinds[kind]!.retain(units);
    return () => this.kinds[kind]!.release(units);
  }

  snapshot(sequence: number): StateSnapshot {
    const length = this.length(sequence);
    this.watcher?.seen(sequence);
    return { length, kinds: this.kinds.map((kind) => kind.snapshot(sequence, length)) };
  }

  /** Positions of a sequence before which the bytes of its watcher are stored, too; Infinity: all are. */
  storedBefore(sequence: number): number {
    this.watcher?.seen(sequence);
    return this.watcher?.storedBefore(sequence) ?? Number.POSITIVE_INFINITY;
  }

  /**
   * For the row table of a pass of these sequences, which were appended: of each the slot it reads, the slot it
   * writes and the place for its inputs, -1 for none [sequences * 3]. Undefined without slots.
   */
  slotTable(sequences: readonly number[]): Int32Array | undefined {
    if (this.slotted === undefined) return undefined;
    const table = new Int32Array(3 * sequences.length);
    for (const [i, sequence] of sequences.entries()) table.set(this.slotted.placesOf(sequence), 3 * i);
    return table;
  }

  /**
   * For the same table, whose sequences have so many rows: of each mark its row and the slot that gets the state
   * after it.
   */
  markTable(parts: readonly { readonly sequence: number; readonly at: number }[]): Int32Array | undefined {
    const marks = parts.flatMap(({ sequence, at }) =>
      (this.slotted?.marksOf(sequence) ?? []).flatMap(({ row, slot }) => [at + row, slot]),
    );
    return marks.length === 0 ? undefined : Int32Array.from(marks);
  }

  private check(sequence: number): void {
    if (this.open[sequence] !== 1) {
      throw new HundredweightError("INTERNAL", `sequence ${sequence} is not open`, { sequence });
    }
  }
}

function noReplay(): never {
  throw new HundredweightError("INTERNAL", "a model without slots has nothing to replay");
}
