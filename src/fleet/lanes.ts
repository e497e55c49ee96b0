/** Lines that run at the same time, begun in the order in which they came; some run while nothing else does. */

interface Waiting {
  readonly alone: boolean;
  readonly begin: () => void;
  /** Ends it without having begun. */
  readonly drop: () => void;
  readonly owner: object;
}

export class Lanes {
  #most: number;
  #waiting: Waiting[] = [];
  #running = 0;
  #alone = false;
  #busySince = 0;
  #busyMs = 0;
  #room: (() => void)[] = [];

  /** @param most lines at a time */
  constructor(most: number) {
    this.#most = most;
  }

  /** Lines that wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Lines that run. */
  get running(): number {
    return this.#running;
  }

  /** Lines at a time from now on; what runs is not ended. */
  set most(most: number) {
    this.#most = most;
    this.#pump();
  }

  /** Whether another line would be begun at once. */
  get hasRoom(): boolean {
    return this.#waiting.length + this.#running < this.#most && !this.#alone;
  }

  /** Milliseconds in which there was a line. */
  get busyMs(): number {
    return this.#busyMs + (this.#running > 0 ? performance.now() - this.#busySince : 0);
  }

  /** Resolves when there is room, or something ended. */
  room(): Promise<void> {
    return new Promise((resolve) => {
      this.#room.push(resolve);
    });
  }

  /** Takes lines of an owner off the list, as many as have not begun: their `run` resolves with undefined. */
  drop(owner: object): void {
    const dropped = this.#waiting.filter((each) => each.owner === owner);
    this.#waiting = this.#waiting.filter((each) => each.owner !== owner);
    for (const each of dropped) each.drop();
    this.#pump();
  }

  run<T>(line: () => Promise<T>, { alone, owner }: { alone: boolean; owner: object }): Promise<T | undefined> {
    return new Promise<T | undefined>((resolve, reject) => {
      const begin = (): void => {
        if (this.#running++ === 0) this.#busySince = performance.now();
        if (alone) this.#alone = true;
        line()
          .then(resolve, reject)
          .finally(() => {
            if (--this.#running === 0) this.#busyMs += performance.now() - this.#busySince;
            if (alone) this.#alone = false;
            this.#pump();
          });
      };
      this.#waiting.push({ alone, begin, drop: () => resolve(undefined), owner });
      this.#pump();
    });
  }

  #pump(): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#mayBegin(next); next = this.#waiting[0]) {
      this.#waiting.shift();
      next.begin();
    }
    const told = this.#room;
    this.#room = [];
    for (const each of told) each();
  }

  #mayBegin({ alone }: Waiting): boolean {
    return alone ? this.#running === 0 : this.#running < this.#most && !this.#alone;
  }
}
