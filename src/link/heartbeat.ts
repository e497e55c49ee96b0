/**
 * Whether an engine gets on, as the main thread of its process sees it and tells the process that waits: its thread
 * turns between passes, tiles are finished in them. Told only while there is work; silence is the sign that something
 * hangs.
 */

export const beatMs = 1000;

export interface HeartbeatHooks {
  /** Asks the engine's thread. */
  ping(): void;
  /** Tiles finished so far; undefined where nobody counts. */
  tiles(): number | undefined;
  reading(): boolean;
  alive(reading: boolean): void;
}

export class Heartbeat {
  readonly #hooks: HeartbeatHooks;
  readonly #jobs = new Set<number>();
  #timer: NodeJS.Timeout | undefined;
  #tiles: number | undefined;
  #asked = false;
  #answered = false;

  constructor(hooks: HeartbeatHooks) {
    this.#hooks = hooks;
  }

  begin(job: number): void {
    this.#jobs.add(job);
    this.#timer ??= setInterval(() => this.beat(), beatMs).unref();
  }

  end(job: number): void {
    this.#jobs.delete(job);
    if (this.#jobs.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  pong(): void {
    this.#asked = false;
    this.#answered = true;
  }

  /** @internal */
  beat(): void {
    const tiles = this.#hooks.tiles();
    // An engine without native kernels finishes none: of it only its process can be watched.
    const uncounted = tiles === undefined || tiles === 0;
    const gotOn = this.#answered || uncounted || tiles !== this.#tiles;
    this.#tiles = tiles;
    this.#answered = false;
    if (gotOn) this.#hooks.alive(false);
    else if (this.#hooks.reading()) this.#hooks.alive(true);
    if (this.#asked) return;
    this.#asked = true;
    this.#hooks.ping();
  }
}
