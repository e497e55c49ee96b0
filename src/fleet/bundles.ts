/**
 * Cuts what is left of a batch into bundles of about a minute: small enough that little is lost with a machine, large
 * enough that what a bundle costs besides its lines is nothing. They get smaller towards the end, and the last lines
 * are given alone, the longest first, so that all machines end together.
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
/** When so many lines for each that runs at a time are left, the end has begun. */
const lateRounds = 4;
/** A last bundle is a line, or so much work: taking one costs a machine milliseconds. */
const leastLateSeconds = 0.1;

export interface Pace {
  readonly machines: number;
  /** Lines that all machines answer at a time. */
  readonly lanes: number;
  /** Cost that a machine does a second; undefined while nobody knows. */
  readonly costPerSecond: number | undefined;
}

export interface NextBundle {
  /** Empty at the end. */
  readonly lines: readonly CutLine[];
  /** It is of the last ones: who takes it takes nothing ahead. */
  readonly late: boolean;
}

export class Bundleer {
  readonly #cut: Cut;
  readonly #wanted: (line: number) => boolean;
  readonly #mostBytes: number;
  #place = 0;
  /** Cost of lines behind the place, wanted or not. */
  #costLeft: number;
  /** The last lines by their cost, once the end has begun: the dearest first. */
  #last: CutLine[] | undefined;

  /** @param wanted whether a line is to be answered: it is asked when its turn comes */
  constructor(cut: Cut, wanted: (line: number) => boolean, mostBytes = usualBundleBytes) {
    this.#mostBytes = mostBytes;
    this.#cut = cut;
    this.#wanted = wanted;
    this.#costLeft = cut.cost;
  }

  get ended(): boolean {
    return this.#peek() === undefined;
  }

  next(pace: Pace): NextBundle {
    if (this.#last === undefined && this.#cut.length - this.#place <= lateRounds * pace.lanes) this.#beginLast();
    const late = this.#last !== undefined;
    const most = late ? leastLateSeconds * (pace.costPerSecond ?? 0) : this.#target(pace);
    const lines: CutLine[] = [];
    let cost = 0;
    let bytes = 0;
    for (let line = this.#peek(); line !== undefined; line = this.#peek()) {
      const full = cost + line.cost > most || bytes + line.bytes > this.#mostBytes || lines.length >= mostLines;
      if (lines.length > 0 && full) break;
      lines.push(line);
      cost += line.cost;
      bytes += line.bytes;
      this.#step(line.cost);
    }
    return { lines, late };
  }

  #target({ machines, costPerSecond }: Pace): number {
    if (costPerSecond === undefined) return firstCost;
    const share = this.#costLeft / (Math.max(1, machines) * lastBundles);
    return Math.min(bundleSeconds * costPerSecond, Math.max(share, leastSeconds * costPerSecond));
  }

  #beginLast(): void {
    const last: CutLine[] = [];
    for (let line = this.#peek(); line !== undefined; line = this.#peek()) {
      last.push(line);
      this.#step(line.cost);
    }
    // What is dear and begun last would be waited for by everybody.
    this.#last = last.sort((a, b) => b.cost - a.cost || a.number - b.number);
    this.#place = 0;
  }

  /** The line whose turn it is. */
  #peek(): CutLine | undefined {
    for (; this.#place < (this.#last ?? this.#cut).length; ) {
      const line = this.#last?.[this.#place] ?? this.#cut.at(this.#place);
      if (this.#wanted(line.number)) return line;
      this.#step(line.cost);
    }
    return undefined;
  }

  #step(cost: number): void {
    this.#place++;
    this.#costLeft -= cost;
  }
}
