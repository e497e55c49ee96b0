/**
 * Learns how fast a model's products really read its weights, from passes of one row: a machine gives less in some
 * minutes than in others, and kernels of some types are slower than plain reading. The next plan of the same file
 * starts from that. Changes no result.
 */
import type { PassTraffic } from "./ledger.js";

/** Smaller passes are made of other things than reading weights, or lie in a cache. */
const leastBytes = 256 * 2 ** 20;
/** The median of the last so many passes counts, when there are enough of them. */
const keptPasses = 32;
const leastPasses = 4;
/** Products of a pass that waits longer than this share hardly meet the plan's picture of it. */
const mostStall = 0.5;

/** A pass of one row as it was planned. */
export interface PlannedCompute {
  /** The memory rate that the plan was made with. */
  readonly memoryBytesPerSecond: number;
  readonly passBytes: number;
  readonly computeSeconds: number;
  /** Seconds that reading from the disk takes of the same processors beside it. */
  readonly readerSeconds: number;
}

export class LiveMemory {
  readonly #planned: PlannedCompute;
  /** Rates of the last passes, the oldest overwritten first. */
  readonly #rates: number[] = [];
  #passes = 0;

  constructor(planned: PlannedCompute) {
    this.#planned = planned;
  }

  /** A pass is over. */
  passed(rows: number, { stallMs }: PassTraffic, elapsedMs: number): void {
    const { memoryBytesPerSecond, passBytes, computeSeconds, readerSeconds } = this.#planned;
    if (rows !== 1 || passBytes < leastBytes || stallMs > mostStall * elapsedMs) return;
    const seconds = (elapsedMs - stallMs) / 1000 - readerSeconds * (1 - stallMs / elapsedMs);
    if (seconds > 0) this.#rates[this.#passes++ % keptPasses] = (memoryBytesPerSecond * computeSeconds) / seconds;
  }

  /** The memory rate with which the plan would have been right; undefined as long as too few passes tell. */
  get bytesPerSecond(): number | undefined {
    if (this.#rates.length < leastPasses) return undefined;
    return this.#rates.toSorted((a, b) => a - b)[this.#rates.length >> 1];
  }
}
