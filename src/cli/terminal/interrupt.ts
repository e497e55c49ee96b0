/**
 * Ctrl-C: the first ends the work cleanly, the second at once; exit code 130, of SIGTERM 143, as shells expect. What
 * does not listen to the signal, like opening a file on a dead network disk, is left behind before anybody has waited
 * for a second.
 */
import { constants } from "node:os";
import { HundredweightError } from "../../errors.js";
import { endingSignals } from "../../process/signals.js";

const graceMs = 700;

/** In `details.exitCode`: 128 and the number of the signal. */
const stoppedBy = (signal: NodeJS.Signals): HundredweightError =>
  new HundredweightError("CANCELLED", "stopped by the caller", { exitCode: 128 + constants.signals[signal] });

/** @throws CANCELLED when a signal came, whatever became of the work; what `work` throws */
export async function withInterrupt<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let stopped: HundredweightError | undefined;
  const leave = (): never => {
    process.stderr.write(`error[CANCELLED]: ${stopped?.message}\n`);
    process.exit(stopped?.details.exitCode as number);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stopped !== undefined) leave();
    stopped = stoppedBy(signal);
    controller.abort();
    timer = setTimeout(leave, graceMs);
  };
  for (const signal of endingSignals) process.on(signal, onSignal);
  try {
    const result = await work(controller.signal);
    if (stopped !== undefined) throw stopped;
    return result;
  } catch (error) {
    // What was cut off may call itself closed or cancelled; a fault of its own stays what it is.
    const ended = error instanceof HundredweightError && ["CANCELLED", "ENGINE_CLOSED"].includes(error.code);
    throw stopped !== undefined && ended ? stopped : error;
  } finally {
    clearTimeout(timer);
    for (const signal of endingSignals) process.off(signal, onSignal);
  }
}
