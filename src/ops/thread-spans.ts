/** When each thread of the pool computed, by the profile's clock: the addon keeps spans while somebody traces. */
import type { NativeAddon } from "../native/addon.types.js";

/** One thread at work in one region of a call; thread 0 is the one that called. */
export interface ThreadSpan {
  readonly thread: number;
  /** Milliseconds of the clock that was given. */
  readonly begin: number;
  readonly end: number;
}

/** Spans of a pass: a 32B prefills in about two thousand regions. */
const mostSpans = 64 * 1024;

export class ThreadSpans {
  readonly #addon: Pick<NativeAddon, "keepThreadSpans" | "takeThreadSpans">;
  readonly #clock: () => number;
  readonly #taken = new Float64Array(3 * mostSpans + 2);
  #lost = 0;
  /** Milliseconds from the addon's clock to the given one. */
  #apart = Number.POSITIVE_INFINITY;

  /** Begins to keep them. @param clock milliseconds of a clock that never goes back */
  constructor(addon: Pick<NativeAddon, "keepThreadSpans" | "takeThreadSpans">, clock: () => number) {
    this.#addon = addon;
    this.#clock = clock;
    addon.keepThreadSpans(mostSpans);
    for (let i = 0; i < 5; i++) this.take();
  }

  /** Spans that came when there was no place for them, so far. */
  get lost(): number {
    return this.#lost;
  }

  /** Spans since the last time, in the order in which they ended. */
  take(): ThreadSpan[] {
    const taken = this.#taken;
    const count = this.#addon.takeThreadSpans(taken);
    this.#lost += taken.at(-1)!;
    // The given clock is read after the addon's: the pair with the least between them tells how far they are apart.
    this.#apart = Math.min(this.#apart, this.#clock() - taken.at(-2)!);
    const apart = this.#apart;
    return Array.from({ length: count }, (_, i) => ({
      thread: taken[3 * i]!,
      begin: taken[3 * i + 1]! + apart,
      end: taken[3 * i + 2]! + apart,
    }));
  }

  close(): void {
    this.#addon.keepThreadSpans(0);
  }
}
