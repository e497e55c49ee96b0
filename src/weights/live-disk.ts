/**
 * Learns the disk's real rate while a model runs, from passes that waited for it: beside products that use every
 * processor it may be less than the probe found, and another number of reads in flight may be better. Changes no
 * result.
 */
import type { PassTraffic } from "./ledger.js";

/** A pass that waited this share of its time was as long as the disk took. */
const boundShare = 0.1;
/** Less than this says little about a rate. */
const leastBytes = 16 * 2 ** 20;
/** A depth is tried in so many passes, of which the best counts: other programs use the disk too. */
const triedPasses = 3;
/** Another depth has to be this much faster to be kept. */
const worthwhile = 1.05;
/** After a search the disk is taken as it is for so many passes. */
const settledPasses = 256;

/** As it was planned. */
export interface ExpectedPass {
  readonly diskBytesPerSecond: number;
  /** Bytes streamed and seconds computed in a pass of one row. */
  readonly streamedBytes: number;
  readonly computeSeconds: number;
}

export interface LiveDiskOptions {
  /** Reads in flight as planned. */
  readonly depth: number;
  /** Reads the reader can keep in flight. */
  readonly mostDepth: number;
  readonly expected: ExpectedPass;
  readonly setDepth: (depth: number) => void;
}

export interface LiveDiskStatus {
  readonly plannedBytesPerSecond: number;
  /** The rate of passes that waited for the disk; undefined as long as none did. */
  readonly bytesPerSecond: number | undefined;
  readonly depth: number;
  /** The plan's prediction, at the rate there is. */
  readonly secondsPerToken: number;
}

export class LiveDisk {
  readonly #options: LiveDiskOptions;
  #rate: number | undefined;
  #depth: number;
  /** The best rate of the passes so far at the depth in use. */
  #best = 0;
  #passes = 0;
  /** Still to be tried, and what they have to beat. */
  #candidates: number[] = [];
  #incumbent: { readonly depth: number; readonly rate: number } | undefined;
  #settled = 0;

  constructor(options: LiveDiskOptions) {
    this.#options = options;
    this.#depth = options.depth;
  }

  get status(): LiveDiskStatus {
    const { diskBytesPerSecond, streamedBytes, computeSeconds } = this.#options.expected;
    return {
      plannedBytesPerSecond: diskBytesPerSecond,
      bytesPerSecond: this.#rate,
      depth: this.#depth,
      secondsPerToken: Math.max(computeSeconds, streamedBytes / (this.#rate ?? diskBytesPerSecond)),
    };
  }

  /** A pass is over. */
  passed({ diskBytes, stallMs }: PassTraffic, elapsedMs: number): void {
    if (stallMs < boundShare * elapsedMs || diskBytes < leastBytes) return;
    const rate = (1000 * diskBytes) / elapsedMs;
    this.#rate = this.#rate === undefined ? rate : 0.8 * this.#rate + 0.2 * rate;
    if (this.#settled > 0) {
      this.#settled--;
      return;
    }
    this.#best = Math.max(this.#best, rate);
    if (++this.#passes < triedPasses) return;
    this.#judge();
  }

  /** The depth in use has been tried. */
  #judge(): void {
    const tried = { depth: this.#depth, rate: this.#best };
    if (this.#incumbent === undefined) {
      this.#incumbent = tried;
      this.#candidates = this.#neighbours(tried.depth);
    } else if (tried.rate > worthwhile * this.#incumbent.rate) {
      // On in the same direction, where there is more of it.
      const up = tried.depth > this.#incumbent.depth;
      this.#incumbent = tried;
      this.#candidates = this.#neighbours(tried.depth).filter((depth) => depth > tried.depth === up);
    }
    const next = this.#candidates.shift();
    if (next === undefined) {
      this.#use(this.#incumbent.depth);
      this.#incumbent = undefined;
      this.#settled = settledPasses;
    } else this.#use(next);
  }

  #neighbours(depth: number): number[] {
    const { mostDepth } = this.#options;
    const candidates = [Math.min(mostDepth, 2 * depth), Math.max(1, Math.floor(depth / 2))];
    return candidates.filter((d) => d !== depth);
  }

  #use(depth: number): void {
    this.#best = 0;
    this.#passes = 0;
    if (depth === this.#depth) return;
    this.#depth = depth;
    this.#options.setDepth(depth);
  }
}
