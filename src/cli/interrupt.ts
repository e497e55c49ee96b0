/**
 * Ctrl-C: the first ends the work cleanly (CANCELLED, exit code 1), the second at once. What does not listen to the
 * signal, like opening a file on a dead network disk, is left behind after two seconds.
 */
import { HundredweightError } from "../errors.js";

const graceMs = 2000;

export async function withInterrupt<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const leave = (): never => {
    process.stderr.write("error[CANCELLED]: stopped by the caller\n");
    process.exit(1);
  };
  const onSignal = (): void => {
    if (controller.signal.aborted) leave();
    controller.abort();
    timer = setTimeout(leave, graceMs);
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  try {
    const result = await work(controller.signal);
    if (controller.signal.aborted) throw new HundredweightError("CANCELLED", "stopped by the caller");
    return result;
  } finally {
    clearTimeout(timer);
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
  }
}
