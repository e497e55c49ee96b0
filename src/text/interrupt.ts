/**
 * Runs a function that may never end. V8 itself breaks it off: loops, recursion, sorting and regular expressions alike,
 * without harm to anything else that runs here afterwards. What only a larger memory would end (one builtin that fills
 * it) is for whoever watches this process.
 *
 * What was broken off leaves its own objects as they were at that moment: only what is made anew for every request (a
 * template's rendering) may run here, never the tokenizer with its tables.
 */
import { Script } from "node:vm";

let work: () => unknown = () => undefined;
// A name on the global object is the only way a script reaches a function of this module.
const name = "hundredweightInterruptible";
Object.defineProperty(globalThis, name, { value: () => work(), enumerable: false });
const script = new Script(`${name}()`);

export class Interrupted extends Error {
  /** The processor was somebody else's for most of the time. */
  readonly starved: boolean;

  constructor(ms: number, starved = false) {
    super(`did not end within ${ms} ms`);
    this.name = "Interrupted";
    this.starved = starved;
  }
}

/** Milliseconds after which a text is slow by itself, whatever the machine did beside: most need 1 to 5. */
const enoughMs = 500;
/** Milliseconds by the clock that what was starved gets beyond its own. */
const spareMs = 400;

/**
 * V8 counts by the clock. On a crowded machine that is no measure of what runs, so what has computed for less than half
 * of its time is run anew with more of it.
 * @throws Interrupted after `ms` milliseconds; what `action` throws
 */
export function within<T>(ms: number, action: () => T): T {
  let leftMs = ms + spareMs;
  for (let clockMs = ms; ; clockMs = Math.min(4 * clockMs, leftMs)) {
    const before = computedMs();
    try {
      return byTheClock(clockMs, action);
    } catch (error) {
      if (!(error instanceof Interrupted)) throw error;
      leftMs -= clockMs;
      const starved = computedMs() - before < Math.min(ms / 2, enoughMs);
      if (!starved || leftMs <= clockMs) throw new Interrupted(ms, starved);
    }
  }
}

/** Milliseconds of this process: a thread beside others is told of theirs too, and found starved too seldom. */
function computedMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function byTheClock<T>(ms: number, action: () => T): T {
  work = action;
  try {
    // Signals are the main thread's: with `breakOnSigint` Ctrl-C would end a request, not the program.
    return script.runInThisContext({ timeout: Math.max(1, Math.ceil(ms)), breakOnSigint: false }) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException | undefined)?.code === "ERR_SCRIPT_EXECUTION_TIMEOUT")
      throw new Interrupted(ms);
    throw error;
  } finally {
    work = () => undefined;
  }
}
