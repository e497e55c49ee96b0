/**
 * Ids of equal units of one pool, reference counted, so that forks and shared prefixes hold the same one. A unit is a
 * page of positions, a slot that holds a whole state, or what a pass kept to go back. Only bookkeeping: the bytes
 * belong to `Ops`.
 */
import { HundredweightError } from "../errors.js";

export class UnitAllocator {
  readonly count: number;
  private readonly what: string;
  private readonly references: Int32Array;
  /**
   * Ids below are in use. The lowest free id is handed out first: little memory is ever touched, and what is taken one
   * after the other has neighbouring ids.
   */
  private lowest = 0;
  private freeCount: number;
  /** Most units that were ever in use: what of the pool's memory has been touched. */
  most = 0;

  /** @param what the units are called in messages */
  constructor(count: number, what: string) {
    this.count = count;
    this.what = what;
    this.references = new Int32Array(count);
    this.freeCount = count;
  }

  get free(): number {
    return this.freeCount;
  }

  /** A unit with one reference. @throws CONTEXT_EXCEEDED when none is left */
  take(): number {
    if (this.freeCount === 0) {
      throw new HundredweightError(
        "CONTEXT_EXCEEDED",
        `all ${this.count} ${this.what}s are in use; raise the context or close other sequences`,
        { units: this.count },
      );
    }
    while (this.references[this.lowest]! > 0) this.lowest++;
    const id = this.lowest++;
    this.freeCount--;
    this.references[id] = 1;
    this.most = Math.max(this.most, this.count - this.freeCount);
    return id;
  }

  retain(id: number): void {
    this.check(id);
    this.references[id] = this.references[id]! + 1;
  }

  release(id: number): void {
    this.check(id);
    const left = this.references[id]! - 1;
    this.references[id] = left;
    if (left > 0) return;
    this.freeCount++;
    this.lowest = Math.min(this.lowest, id);
  }

  /** How many hold a unit; 0 when it is free. */
  holders(id: number): number {
    return this.references[id] ?? 0;
  }

  private check(id: number): void {
    if ((this.references[id] ?? 0) <= 0) {
      throw new HundredweightError("INTERNAL", `${this.what} ${id} is not in use`, { unit: id });
    }
  }
}
