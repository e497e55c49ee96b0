/** Pages and slots as bytes: what leaves the process and comes back. */

/** A pool of pages or of slots. */
interface StatePool {
  readonly id: number;
}

/** The same bytes in a pool of the same layers and types are the same past. */
export interface UnitBytes {
  /** Copies bytes of a page or a slot, from `offset` on. */
  readUnit(pool: StatePool, unit: number, offset: number, into: Uint8Array): void;
  /** Replaces them. */
  writeUnit(pool: StatePool, unit: number, offset: number, bytes: Uint8Array): void;
}
