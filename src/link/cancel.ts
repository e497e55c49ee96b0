/**
 * How another thread stops jobs while kernels run: it writes into the table of the pass that runs
 * (engine/stop-signal.ts).
 */
import { cancelTable, clockMs, mostSequences } from "../engine/stop-signal.js";

/**
 * Any thread. A message that cancels the job must follow. The pass goes on for the others unless
 * repeating it without the cancelled rows is sooner done: what these cost is more than what has been computed.
 */
export function requestStop(words: Int32Array, job: number): void {
  Atomics.add(words, cancelTable.announced, 1);
  const pass = Atomics.load(words, cancelTable.pass);
  if (pass === 0) return;
  let live = false;
  let cancelledMs = 0;
  const count = Math.min(Atomics.load(words, cancelTable.count), mostSequences);
  let found = false;
  for (let i = 0; i < count; i++) {
    const at = cancelTable.entries + cancelTable.entryWords * i;
    const id = Atomics.load(words, at);
    if (id === job) {
      Atomics.store(words, at + 2, job);
      found = true;
    }
    if (Atomics.load(words, at + 2) === id) cancelledMs += Atomics.load(words, at + 1);
    else live = true;
  }
  const elapsedMs = clockMs() - Atomics.load(words, cancelTable.began);
  if (!found || (live && cancelledMs <= elapsedMs)) return;
  // The table was that of this pass only if it still runs.
  if (Atomics.load(words, cancelTable.pass) === pass) Atomics.store(words, cancelTable.stop, pass);
}

/** Ends whatever runs. */
export function requestClose(words: Int32Array): void {
  Atomics.store(words, cancelTable.closing, 1);
  const pass = Atomics.load(words, cancelTable.pass);
  if (pass !== 0) Atomics.store(words, cancelTable.stop, pass);
}
