/** Gives up an attempt that stands still, or that its caller ends. */
export class StallWatch {
  readonly #own = new AbortController();
  readonly #outer: AbortSignal;
  readonly #timer: NodeJS.Timeout;
  #stalled = false;

  /** @param ms without `touch` after which the signal is given */
  constructor(ms: number, outer: AbortSignal) {
    this.#outer = outer;
    this.#timer = setTimeout(() => {
      this.#stalled = true;
      this.#own.abort();
    }, ms);
    // Not AbortSignal.any: what listens to one that never comes is kept for ever.
    outer.addEventListener("abort", this.#end, { once: true });
    if (outer.aborted) this.#end();
  }

  /** For the attempt. */
  get signal(): AbortSignal {
    return this.#own.signal;
  }

  get stalled(): boolean {
    return this.#stalled;
  }

  /** Something has come. */
  touch(): void {
    this.#timer.refresh();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#outer.removeEventListener("abort", this.#end);
  }

  readonly #end = (): void => this.#own.abort();
}
