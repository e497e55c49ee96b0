/**
 * Cuts what is left of a batch into bundles of about a minute: small enough that little is lost with a machine, large
 * enough that what a bundle costs besides its lines is nothing. They get smaller towards the end, so that all machines
 * end together.
 */
import type { Cut, CutLine } from "../batch/cut.js";

const bundleSeconds = 60;
/** While nobody knows how fast machines are. */
const firstCost = 256;
/** A bundle is a value in Redis and a text in memory. */
export const usualBundleBytes = 8 * 2 ** 20;
const mostLines = 4096;
/** Towards the end every machine gets about so many more bundles. */
const lastBundles = 4;
const leastSeconds = 1;

export interface Pace {
  readonly machines: number;
  /** Cost that a machine does a second; undefined while nobody knows. */
  readonly costPerSecond: number | undefined;
}

export class Bundleer {
  readonly #cut: Cut;
  readonly #wanted: (line: number) => boolean;
  readonly #mostBytes: number;
  #place = 0;
  /** Cost of lines behind the place, wanted or not. */
  #costLeft: number;

  /** @param wanted whether a line is to be answered: it is asked when its turn comes */
  constructor(cut: Cut, wanted: (line: number) => boolean, mostBytes = usualBundleBytes) {
    this.#mostBytes = mostBytes;
    this.#cut = cut;
    this.#wanted = wanted;
    this.#costLeft = cut.cost;
  }

  get ended(): boolean {
    this.#skip();
    return this.#place >= this.#cut.length;
  }

  /** The lines of the next bundle; empty at the end. */
  next(pace: Pace): CutLine[] {
    const most = this.#target(pace);
    const lines: CutLine[] = [];
    let cost = 0;
    let bytes = 0;
    for (this.#skip(); this.#place < this.#cut.length; this.#skip()) {
      const line = this.#cut.at(this.#place);
      const full = cost + line.cost > most || bytes + line.bytes > this.#mostBytes || lines.length >= mostLines;
      if (lines.length > 0 && full) break;
      lines.push(line);
      cost += line.cost;
      bytes += line.bytes;
      this.#step(line.cost);
    }
    return lines;
  }

  #target({ machines, costPerSecond }: Pace): number {
    if (costPerSecond === undefined) return firstCost;
    const share = this.#costLeft / (Math.max(1, machines) * lastBundles);
    return Math.min(bundleSeconds * costPerSecond, Math.max(share, leastSeconds * costPerSecond));
  }

  #skip(): void {
    while (this.#place < this.#cut.length) {
      const { number, cost } = this.#cut.at(this.#place);
      if (this.#wanted(number)) return;
      this.#step(cost);
    }
  }

  #step(cost: number): void {
    this.#place++;
    this.#costLeft -= cost;
  }
}
