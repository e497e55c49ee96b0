/**
 * States that are replaced and not added to: a recurrence's matrices, the tail of a short convolution. A slot holds
 * those of all layers at one position. A pass reads the sequence's slot and writes another one, so slots never change
 * once they are written: forks share them, nothing is copied, and a pass that failed leaves the old one as it was.
 * Where drafts may be refused the pass also keeps what it fed in, and the part that holds is fed into the old slot
 * once more (`replay`).
 */
import { HundredweightError } from "../errors.js";
import type { Growth, GrowthUse, StateKind, UnitSnapshot } from "./kind.js";
import { UnitAllocator } from "./units.js";

/**
 * Feeds the first `rows` of what a pass kept into the state of slot `from` (-1: of zeros); the result goes to slot
 * `to`.
 */
export interface Replay {
  readonly from: number;
  readonly to: number;
  readonly keep: number;
  readonly rows: number;
}

export interface SlottedOptions {
  readonly slots: number;
  /** Passes whose inputs can be kept at the same time: one of each sequence that grows. */
  readonly keeps: number;
  /** Most rows whose inputs are kept. */
  readonly keptRows: number;
  readonly sequences: number;
  replay(replay: Replay): void;
}

const none = -1;

/** A position within a pass, and the slot that gets the state as it is there. */
interface Mark {
  readonly position: number;
  readonly slot: number;
}

/**
 * The last pass of a sequence as long as somebody may go back into it, or begin a fork there: from `slot` at
 * `position`; `keep` of its inputs.
 */
interface Undo {
  readonly slot: number;
  readonly position: number;
  readonly keep: number;
  readonly marks: readonly Mark[];
}

export class SlottedState implements StateKind {
  private readonly slots: UnitAllocator;
  private readonly keeps: UnitAllocator;
  private readonly keptRows: number;
  private readonly runReplay: SlottedOptions["replay"];
  /** The slot of each sequence: the state at its length; -1 at length 0. */
  private readonly current: Int32Array;
  private readonly undos: (Undo | undefined)[];

  constructor({ slots, keeps, keptRows, sequences, replay }: SlottedOptions) {
    this.slots = new UnitAllocator(slots, "state slot");
    this.keeps = new UnitAllocator(keeps, "place for kept input");
    this.keptRows = keptRows;
    this.runReplay = replay;
    this.current = new Int32Array(sequences).fill(none);
    this.undos = new Array<Undo | undefined>(sequences);
  }

  get units(): StateKind["units"] {
    return this.slots;
  }

  /** For the row table of the pass that was appended: slot it reads, slot it writes, place for its inputs; -1: none. */
  placesOf(sequence: number): readonly [from: number, to: number, keep: number] {
    const undo = this.undos[sequence];
    return [undo?.slot ?? none, this.current[sequence]!, undo?.keep ?? none];
  }

  /** The same pass: each position that is marked, as rows of it from the first, and its slot. */
  marksOf(sequence: number): readonly { readonly row: number; readonly slot: number }[] {
    const undo = this.undos[sequence];
    return undo?.marks.map(({ position, slot }) => ({ row: position - undo.position - 1, slot })) ?? [];
  }

  hasRoomFor(parts: readonly Growth[], marks: number): boolean {
    let wanted = marks;
    for (const { sequence, rows } of parts) if (rows > 0) wanted += this.isAlone(this.undos[sequence]?.slot) ? 0 : 1;
    return wanted <= this.slots.free;
  }

  /** @throws INTERNAL when more rows are to be kept than there is room for */
  append({ sequence, from, rows }: Growth, { drafts = false, marks = [] }: GrowthUse): void {
    if (drafts && rows > this.keptRows)
      throw new HundredweightError("INTERNAL", `drafts in a pass of ${rows} rows, at most ${this.keptRows} are kept`);
    this.settle(sequence);
    const slot = this.current[sequence]!;
    this.current[sequence] = this.slots.take();
    this.undos[sequence] = {
      slot,
      position: from,
      keep: drafts ? this.keeps.take() : none,
      // At the end of the pass it is the sequence's own slot.
      marks: marks.filter((at) => at < from + rows).map((position) => ({ position, slot: this.slots.take() })),
    };
  }

  settle(sequence: number): void {
    const undo = this.undos[sequence];
    if (undo === undefined) return;
    if (undo.slot !== none) this.slots.release(undo.slot);
    if (undo.keep !== none) this.keeps.release(undo.keep);
    for (const { slot } of undo.marks) this.slots.release(slot);
    this.undos[sequence] = undefined;
  }

  rewindTarget(sequence: number, position: number, length: number): number {
    if (position >= length) return length;
    const undo = this.undos[sequence];
    if (undo === undefined || position < undo.position) return 0;
    return undo.keep !== none && this.canReplay(sequence) ? position : undo.position;
  }

  rewind(sequence: number, target: number, length: number): void {
    if (target === length) return;
    const undo = this.undos[sequence];
    const slot = this.current[sequence]!;
    if (undo !== undefined && target > undo.position) {
      if (!this.isAlone(slot)) {
        this.slots.release(slot);
        this.current[sequence] = this.slots.take();
      }
      const { slot: from, position, keep } = undo;
      this.runReplay({ from, to: this.current[sequence]!, keep, rows: target - position });
      return;
    }
    if (slot !== none) this.slots.release(slot);
    this.current[sequence] = none;
    if (undo !== undefined && target === undo.position) {
      if (undo.slot !== none) this.slots.retain(undo.slot);
      this.current[sequence] = undo.slot;
    }
    this.settle(sequence);
  }

  canFork(sequence: number, position: number, length: number): boolean {
    return position === length || this.markAt(sequence, position) !== undefined;
  }

  fork(from: number, to: number, position: number, length: number): void {
    const slot = position === length ? this.current[from]! : this.markAt(from, position)!.slot;
    if (slot !== none) this.slots.retain(slot);
    this.current[to] = slot;
  }

  /** Each has the slot it reads and the one it writes. */
  canGrow(positions: ReadonlyMap<number, number>): boolean {
    return 2 * positions.size <= this.slots.count;
  }

  canClaim(length: number): boolean {
    return length === 0 || this.slots.free > 0;
  }

  couldClaim(_length: number, beside: readonly number[]): boolean {
    return 1 + 2 * beside.length <= this.slots.count;
  }

  claim(sequence: number, length: number): void {
    if (length > 0) this.current[sequence] = this.slots.take();
  }

  retain(units: Iterable<number>): void {
    for (const unit of units) this.slots.retain(unit);
  }

  release(units: Iterable<number>): void {
    for (const unit of units) this.slots.release(unit);
  }

  snapshot(sequence: number): UnitSnapshot {
    return { kind: "slot", units: [this.current[sequence]!] };
  }

  private markAt(sequence: number, position: number): Mark | undefined {
    return this.undos[sequence]?.marks.find((mark) => mark.position === position);
  }

  /** A slot that is shared with a fork must not be written: then another one is needed. */
  private canReplay(sequence: number): boolean {
    return this.isAlone(this.current[sequence]) || this.slots.free > 0;
  }

  private isAlone(slot: number | undefined): boolean {
    return slot !== undefined && slot !== none && this.slots.holders(slot) === 1;
  }
}
