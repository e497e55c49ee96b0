/** The memory of a model's states as files see it: kinds in the order of the cache, units of known bytes. */
import { type KvPool, pagePositions, type SlotPool } from "../ops/ops.js";
import type { UnitBytes } from "../ops/unit-bytes.js";
import type { StateCache } from "../state/cache.js";
import { firstSeenBlock } from "../state/paged.js";
import type { RecordUnit } from "./record.js";

/** One kind of state: pages of a group, or slots. */
export interface PastKind {
  /** Positions of a page; undefined: slots. */
  readonly positions: number | undefined;
  /** A row looks back so far; 0: at everything. */
  readonly window: number;
  readonly bytes: number;
  readonly pool: KvPool | SlotPool;
}

/** A unit that a past holds, and where it lies. */
export interface PastUnit extends RecordUnit {
  readonly unit: number;
}

export class PastMemory {
  readonly cache: StateCache;
  readonly kinds: readonly PastKind[];
  private readonly backend: UnitBytes;

  constructor(
    backend: UnitBytes,
    cache: StateCache,
    groups: readonly { readonly pool: KvPool; readonly window: number; readonly every?: number }[],
    slots: SlotPool | undefined,
  ) {
    this.backend = backend;
    this.cache = cache;
    this.kinds = [
      ...groups.map(({ pool, window, every = 1 }) => ({
        positions: pagePositions * every,
        window,
        bytes: pool.pageBytes,
        pool,
      })),
      ...(slots === undefined ? [] : [{ positions: undefined, window: 0, bytes: slots.slotBytes, pool: slots }]),
    ];
  }

  /** All units that a sequence holds. */
  units(sequence: number): PastUnit[] {
    return this.cache
      .snapshot(sequence)
      .kinds.flatMap(({ units }, kind) =>
        units.flatMap((unit, block) => (unit < 0 ? [] : [{ kind, block, unit, bytes: this.kinds[kind]!.bytes }])),
      );
  }

  read({ kind, unit }: PastUnit, offset: number, into: Uint8Array): void {
    this.backend.readUnit(this.kinds[kind]!.pool, unit, offset, into);
  }

  write({ kind, unit }: PastUnit, offset: number, bytes: Uint8Array): void {
    this.backend.writeUnit(this.kinds[kind]!.pool, unit, offset, bytes);
  }

  /** The first block of a kind that a row at `position` sees. */
  firstSeen(kind: number, position: number): number {
    const { window, positions } = this.kinds[kind]!;
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
    const { positions, window } = this.kinds[kind]!;
    return positions !== undefined && window === 0 && (block + 1) * positions <= length;
  }

  /** The units of a state of so many positions; the sequence may be longer. */
  stateUnits(sequence: number, length: number): PastUnit[] {
    return this.units(sequence).filter((unit) => {
      const { positions } = this.kinds[unit.kind]!;
      if (positions === undefined) return true;
      return (
        unit.block >= this.firstSeen(unit.kind, length) &&
        unit.block * positions < length &&
        !this.isWhole(unit, length)
      );
    });
  }
}
