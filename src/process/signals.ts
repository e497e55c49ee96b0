/** How a process is asked to end, on every system. Windows has no signals; Node makes some of its console's events. */

const windows = process.platform === "win32";

/**
 * Ctrl-C and a polite request. On Windows also Ctrl-Break and the console that is closed, which leaves some ten seconds
 * (a request from outside cannot be heard there); elsewhere a terminal that is gone ends the process at once.
 */
export const endingSignals: readonly NodeJS.Signals[] = windows
  ? ["SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP"]
  : ["SIGINT", "SIGTERM"];

/** A child leaves these to the process that started it: the console sends its events to both. */
export const sharedSignals: readonly NodeJS.Signals[] = [
  "SIGINT",
  "SIGTERM",
  "SIGHUP",
  ...(windows ? ["SIGBREAK" as const] : []),
];

/** As if Ctrl-C had been pressed, where a terminal hands it over as a key. */
export function interruptSelf(): void {
  // To kill with SIGINT ends a process of Windows without asking it.
  if (windows) process.emit("SIGINT", "SIGINT");
  else process.kill(process.pid, "SIGINT");
}
