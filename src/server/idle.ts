/**
 * Gives memory of this thread back when a burst of requests is over. V8 keeps the young generation as large as the burst made it, tens
 * of megabytes, until the next full collection, and without requests that never comes; the memory is the model's.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const quietMs = 8000;
/** V8 shrinks the young generation when little was allocated for 5 s, counted from collection to collection. */
const againMs = 6000;

export class IdleCollector {
  private readonly collect: (() => void) | undefined = collector();
  private timer: NodeJS.Timeout | undefined;
  private rounds = 0;

  /** A request came. */
  touch(): void {
    if (this.collect === undefined) return;
    this.rounds = 2;
    this.wait(quietMs);
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private wait(ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.collect?.();
      if (--this.rounds > 0) this.wait(againMs);
    }, ms);
    this.timer.unref();
  }
}

function collector(): (() => void) | undefined {
  try {
    setFlagsFromString("--expose-gc");
    return runInNewContext("gc") as () => void;
  } catch {
    return undefined;
  }
}
