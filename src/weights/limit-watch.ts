/** Notices that the memory limit was lowered while a model runs, and makes room before the system does it by force. */
import { HundredweightError } from "../errors.js";
import { type Limited, memoryLimit } from "./memory-limit.js";

/** Reading the limits takes some tenths of a millisecond. */
const everyMs = 500;
/** Below this much room what can be spared is given back. */
const scarceBytes = 64 * 2 ** 20;
/** Bytes a pass may still touch for the first time: KV pages, scratch, garbage of JavaScript. */
const leastBytes = 16 * 2 ** 20;

/** The limit of the cgroup (Linux) or the job (Windows); on macOS, memory that is critical has no room left. */
function limitNow(): Limited | undefined {
  const { cgroup, job, pressure, totalBytes } = memoryLimit();
  if (pressure === undefined) return cgroup ?? job;
  return pressure >= 4
    ? { limitBytes: totalBytes - 1, usedBytes: totalBytes - leastBytes - 1 }
    : { limitBytes: totalBytes, usedBytes: 0 };
}

/**
 * To be called before each pass. A limit that was never lowered is left alone: whoever plans a budget close to it knows
 * why. v1 refuses to lower a limit below what cannot be reclaimed; v2 kills, whatever the process does: nothing helps
 * there but a limit above what `run --json` reports as its peak.
 * @throws MEMORY_BUDGET when too little is left after giving back; the next pass looks again
 */
export function watchLimit(
  read: () => Limited | undefined = limitNow,
  now: () => number = () => performance.now(),
): (shrink: () => void) => void {
  let limitBytes = read()?.limitBytes ?? Infinity;
  let next = now() + everyMs;
  let lowered = false;
  let shrunk = false;
  return (shrink) => {
    if (now() < next) return;
    next = now() + everyMs;
    let found = read();
    if (found === undefined) return;
    lowered ||= found.limitBytes < limitBytes;
    limitBytes = Math.max(limitBytes === Infinity ? 0 : limitBytes, found.limitBytes);
    if (!lowered || found.limitBytes - found.usedBytes >= scarceBytes) return;
    if (!shrunk) {
      shrink();
      shrunk = true;
      found = read() ?? found;
    }
    const left = found.limitBytes - found.usedBytes;
    if (left >= leastBytes) return;
    next = now();
    const mib = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
    throw new HundredweightError(
      "MEMORY_BUDGET",
      `the memory limit was lowered to ${mib(found.limitBytes)} and ${mib(found.usedBytes)} are in use; ` +
        "raise it, or load the model again with a smaller --memory",
      { limitBytes: found.limitBytes, usedBytes: found.usedBytes },
    );
  };
}
