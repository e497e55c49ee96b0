/** The cost of each pass: differences of the running totals. */
import type { WeightTraffic } from "../ops/ops.js";

export interface PassTraffic {
  readonly diskBytes: number;
  /** Weight bytes used that were in memory. */
  readonly pinnedBytes: number;
  /** Time that products waited for the disk. */
  readonly stallMs: number;
  readonly expertHits: number;
  readonly expertMisses: number;
}

export class Ledger {
  readonly #read: () => WeightTraffic | undefined;
  #last: WeightTraffic | undefined;

  /** @param read running totals; undefined where nobody counts */
  constructor(read: () => WeightTraffic | undefined) {
    this.#read = read;
    this.#last = read();
  }

  /** Since the call before; undefined where nobody counts. Bytes read ahead belong to the pass that read them. */
  lap(): PassTraffic | undefined {
    const now = this.#read();
    const last = this.#last;
    this.#last = now;
    if (now === undefined || last === undefined) return undefined;
    return {
      diskBytes: now.diskBytes - last.diskBytes,
      pinnedBytes: Math.max(0, now.memoryBytes - last.memoryBytes), // a cancelled pass has read what it never used
      stallMs: now.stallMs - last.stallMs,
      expertHits: now.expertHits - last.expertHits,
      expertMisses: now.expertMisses - last.expertMisses,
    };
  }
}
