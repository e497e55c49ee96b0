/**
 * The memory of a model's states as files see it: kinds in the order of the cache, units of known bytes. Blocks that
 * guess keep something in the same pages, behind what the trunk keeps: that part is a kind of its own, behind those of
 * the trunk, so that files mean the same to engines with blocks and without.
 */
import { type KvPool, pagePositions, type SlotPool } from "../ops/ops.js";
import type { UnitBytes } from "../ops/unit-bytes.js";
import type { StateCache } from "../state/cache.js";
import { firstSeenBlock } from "../state/paged.js";
import type { RecordUnit } from "./record.js";

/** One kind of state: the trunk's part of the pages of a group, slots, or the blocks' part of the pages of a group. */
export interface PastKind {
  /** Positions of a page; undefined: slots. */
  readonly positions: number | undefined;
  /** A row looks back so far; 0: at everything. */
  readonly window: number;
  /** Bytes of a unit, from `offset` on. */
  readonly bytes: number;
  readonly offset: number;
  readonly pool: KvPool | SlotPool;
  /** The number of the kind in the cache. */
  readonly place: number;
}

/** A unit that a past holds, and where it lies. */
export interface PastUnit extends RecordUnit {
  readonly unit: number;
}

export interface PastGroup {
  readonly pool: KvPool;
  readonly window: number;
  readonly every?: number;
  /** Bytes of a page that are the trunk's; default: all. */
  readonly firstBytes?: number;
}

/** Bytes that are cleared at once. */
const nothing = new Uint8Array(1 << 16);

export class PastMemory {
  readonly cache: StateCache;
  /** Kinds of the trunk: what is needed to go on. The first of `all`. */
  readonly kinds: readonly PastKind[];
  private readonly all: readonly PastKind[];
  private readonly backend: UnitBytes;

  constructor(backend: UnitBytes, cache: StateCache, groups: readonly PastGroup[], slots: SlotPool | undefined) {
    this.backend = backend;
    this.cache = cache;
    const parts = groups.map(({ pool, window, every = 1, firstBytes = pool.pageBytes }, place) => {
      const kind = { positions: pagePositions * every, window, pool, place };
      return [
        { ...kind, offset: 0, bytes: firstBytes },
        { ...kind, offset: firstBytes, bytes: pool.pageBytes - firstBytes },
      ] as const;
    });
    const ofSlots = slots && { positions: undefined, window: 0, bytes: slots.slotBytes, offset: 0, pool: slots };
    const there = ({ bytes }: PastKind): boolean => bytes > 0;
    this.kinds = [
      ...parts.map(([own]) => own).filter(there),
      ...(ofSlots === undefined ? [] : [{ ...ofSlots, place: groups.length }]),
    ];
    this.all = [...this.kinds, ...parts.map(([, beside]) => beside).filter(there)];
  }

  /** All units of the trunk that a sequence holds. */
  units(sequence: number): PastUnit[] {
    return this.unitsOf(sequence, this.kinds, 0);
  }

  /** The parts of blocks in the pages that a sequence holds. */
  unitsBeside(sequence: number): PastUnit[] {
    return this.unitsOf(sequence, this.all.slice(this.kinds.length), this.kinds.length);
  }

  /** Those of them of which every row before `length` is stored: of others the bytes may be anybody's. */
  wholeBeside(sequence: number, length: number): PastUnit[] {
    const stored = this.cache.storedBefore(sequence);
    return this.unitsBeside(sequence).filter(({ kind, block }) => {
      const end = (block + 1) * this.all[kind]!.positions!;
      return Math.min(end, length) <= stored;
    });
  }

  private unitsOf(sequence: number, kinds: readonly PastKind[], first: number): PastUnit[] {
    const held = this.cache.snapshot(sequence).kinds;
    return kinds.flatMap(({ place, bytes }, i) =>
      held[place]!.units.flatMap((unit, block) => (unit < 0 ? [] : [{ kind: first + i, block, unit, bytes }])),
    );
  }

  /** Whether a kind is one of the trunk's, here and to whoever wrote it. */
  isTrunk(kind: number): boolean {
    return kind < this.kinds.length;
  }

  read({ kind, unit }: PastUnit, offset: number, into: Uint8Array): void {
    const { pool, offset: from } = this.all[kind]!;
    this.backend.readUnit(pool, unit, from + offset, into);
  }

  write({ kind, unit }: PastUnit, offset: number, bytes: Uint8Array): void {
    const { pool, offset: from } = this.all[kind]!;
    this.backend.writeUnit(pool, unit, from + offset, bytes);
  }

  /** Nobody knows the bytes of this unit: whoever reads it finds zeros, not what was there before. */
  clear(unit: PastUnit): void {
    for (let at = 0; at < unit.bytes; at += nothing.length)
      this.write(unit, at, nothing.subarray(0, Math.min(nothing.length, unit.bytes - at)));
  }

  /** Keeps a unit as it is.  @returns gives it back */
  hold({ kind, unit }: PastUnit): () => void {
    return this.cache.hold(this.all[kind]!.place, [unit]);
  }

  /** The first block of a kind that a row at `position` sees. */
  firstSeen(kind: number, position: number): number {
    const { window, positions } = this.all[kind]!;
    return positions === undefined ? 0 : firstSeenBlock(position, window, positions);
  }

  /**
   * Whether more than whole pages of 256 positions has to be there to go on: slots, rows of several positions, what a
   * window still shows.
   */
  get stateful(): boolean {
    return this.kinds.some(({ positions, window }) => positions !== pagePositions || window > 0);
  }

  /** Whether a unit is a page that has a file of its own, of a past of so many positions; else a state holds it. */
  isWhole({ kind, block }: PastUnit, length: number): boolean {
    const { positions, window } = this.all[kind]!;
    return positions !== undefined && window === 0 && (block + 1) * positions <= length;
  }

  /** The units of a state of so many positions, those of blocks that are whole last; the sequence may be longer. */
  stateUnits(sequence: number, length: number): PastUnit[] {
    return [...this.units(sequence), ...this.wholeBeside(sequence, length)].filter((unit) => {
      const { positions } = this.all[unit.kind]!;
      if (positions === undefined) return true;
      return (
        unit.block >= this.firstSeen(unit.kind, length) &&
        unit.block * positions < length &&
        !this.isWhole(unit, length)
      );
    });
  }

  /** The units that share the page of this one and its file: itself, and the part of blocks. */
  pageUnits(unit: PastUnit, beside: readonly PastUnit[]): PastUnit[] {
    const { place } = this.all[unit.kind]!;
    return [unit, ...beside.filter(({ kind, block }) => block === unit.block && this.all[kind]!.place === place)];
  }
}
