/**
 * How long an engine with work has said nothing. Counted in steps of a timer, each at most twice as long as it should
 * be: when this process itself was stopped, or the machine slept, messages may lie unread and nobody was silent.
 */
export class Silence {
  readonly #stepMs: number;
  #silentMs = 0;
  #unreadMs = 0;
  #last = performance.now();

  constructor(stepMs: number) {
    this.#stepMs = stepMs;
  }

  /** Since anything came. */
  get silentMs(): number {
    return this.#silentMs;
  }

  /** Since anything came, a read from the disk in flight included. */
  get hungMs(): number {
    return this.#unreadMs;
  }

  heard(reading = false): void {
    if (!reading) this.#silentMs = 0;
    this.#unreadMs = 0;
  }

  /** @param working nobody expects a word of an engine without work */
  step(working: boolean, now = performance.now()): void {
    const passed = Math.min(2 * this.#stepMs, now - this.#last);
    this.#last = now;
    if (!working) this.heard();
    else {
      this.#silentMs += passed;
      this.#unreadMs += passed;
    }
  }
}
