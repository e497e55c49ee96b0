/**
 * How a job is stopped from another thread while kernels run: two shared words. `words[0]` holds the job to stop and is
 * what kernels poll (non-zero = give up), `words[1]` the job that runs. Because the word names a job, a stop that
 * arrives late never hits the next one: whoever finds a stale word clears it and repeats the pass.
 */
export const cancelWords = 2;

/** The caller's side: any thread. */
export function requestStop(words: Int32Array, job: number): void {
  if (Atomics.load(words, 1) === job) Atomics.store(words, 0, job);
}

/** The engine's side. */
export class StopSignal {
  /** Given to `ops.setCancelFlag`. */
  readonly words: Int32Array;
  private job = 0;

  constructor(words: Int32Array = new Int32Array(new SharedArrayBuffer(4 * cancelWords))) {
    this.words = words;
  }

  begin(job: number): void {
    this.job = job;
    Atomics.store(this.words, 1, job);
    this.clearStale();
  }

  end(): void {
    this.job = 0;
    Atomics.store(this.words, 1, 0);
    Atomics.store(this.words, 0, 0);
  }

  stop(): void {
    if (this.job !== 0) Atomics.store(this.words, 0, this.job);
  }

  get requested(): boolean {
    return this.job !== 0 && Atomics.load(this.words, 0) === this.job;
  }

  clearStale(): void {
    const found = Atomics.load(this.words, 0);
    if (found !== 0 && found !== this.job) Atomics.compareExchange(this.words, 0, found, 0);
  }
}
