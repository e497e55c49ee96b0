/**
 * Gives memory of a thread back when a burst of requests is over. V8 keeps the young generation as large as the burst
 * made it, and what became old and is garbage now, until the next full collection; without requests that never comes,
 * and the memory is the model's.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

const quietMs = 8000;
/** V8 shrinks the young generation when little was allocated for 5 s, counted from collection to collection. */
const againMs = 6000;

export class IdleCollector {
  private readonly gc: (() => void) | undefined = collector();
  private readonly afterwards: () => void;
  private timer: NodeJS.Timeout | undefined;
  private rounds = 0;

  /** @param afterwards called after every collection */
  constructor(afterwards: () => void = () => {}) {
    this.afterwards = afterwards;
  }

  /** A request came. */
  touch(): void {
    this.rounds = 2;
    this.wait(quietMs);
  }

  /** Now, which takes some 10 ms of everybody's time: when a large thing is over that will not come again. */
  collect(): void {
    this.gc?.();
    this.afterwards();
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private wait(ms: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.collect();
      if (--this.rounds > 0) this.wait(againMs);
    }, ms);
    this.timer.unref();
  }
}

let young: ReturnType<typeof collector> | null = null;

/**
 * Frees what was made lately and is garbage, in 1 to 2 ms. V8 does so when its own heap has grown; the bytes of buffers
 * lie outside of it, and 64 MB of them may be garbage before it looks.
 */
export function collectYoung(): void {
  if (young === null) young = collector();
  young?.({ type: "minor" });
}

function collector(): ((how?: { readonly type: "minor" }) => void) | undefined {
  try {
    setFlagsFromString("--expose-gc");
    return runInNewContext("gc") as () => void;
  } catch {
    return undefined;
  }
}
