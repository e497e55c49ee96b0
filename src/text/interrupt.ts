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
  constructor(ms: number) {
    super(`did not end within ${ms} ms`);
    this.name = "Interrupted";
  }
}

/** @throws Interrupted after `ms` milliseconds; what `action` throws */
export function within<T>(ms: number, action: () => T): T {
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
