/** Trying again: what fails in passing is asked for anew, more and more slowly, a server's own wish included. */
import { setTimeout as sleep } from "node:timers/promises";
import { HundredweightError } from "../../errors.js";

export interface Patience {
  /** A line for people: waiting, beginning again. */
  readonly onNote?: ((note: string) => void) | undefined;
  /** Milliseconds without a byte after which a connection is given up. */
  readonly stallMs: number;
  /** Milliseconds before the first new try, doubled for each. */
  readonly backOffMs: number;
  /** Tries in a row that bring nothing. */
  readonly tries: number;
}

export const usualPatience: Patience = { stallMs: 30_000, backOffMs: 1000, tries: 8 };

/** A longer wait that a server asks for is a reason to stop: nobody watches that long. */
const mostWaitSeconds = 300;
const longestOwnWaitMs = 60_000;

/** A failure that a new try may mend, perhaps after some seconds. */
export class PassingFailure extends Error {
  readonly waitSeconds: number | undefined;
  /** The error when there is no new try. */
  readonly final: HundredweightError;

  constructor(final: HundredweightError, waitSeconds?: number) {
    super(final.message);
    this.final = final;
    this.waitSeconds = waitSeconds;
  }
}

/** A try that failed and brought something: those before it are forgotten. */
export class Progressed extends Error {
  constructor(cause: unknown) {
    super("progressed", { cause });
  }
}

/** @throws what `attempt` throws, of a PassingFailure its `final`; CANCELLED */
export async function persist(attempt: () => Promise<void>, patience: Patience, signal: AbortSignal): Promise<void> {
  for (let failures = 0; ; ) {
    try {
      return await attempt();
    } catch (thrown) {
      const error = thrown instanceof Progressed ? thrown.cause : thrown;
      if (!(error instanceof PassingFailure)) throw error;
      failures = thrown instanceof Progressed ? 1 : failures + 1;
      const { waitSeconds = 0 } = error;
      if (failures >= patience.tries || waitSeconds > mostWaitSeconds) throw error.final;
      // Not in step with other connections.
      const own = Math.min(patience.backOffMs * 2 ** (failures - 1), longestOwnWaitMs) * (0.5 + Math.random());
      const wait = Math.max(own, waitSeconds * 1000);
      if (wait > 2000) patience.onNote?.(`${error.message}: trying again in ${Math.ceil(wait / 1000)} s`);
      await sleep(wait, undefined, { signal }).catch(() => {
        throw cancelled(signal);
      });
    }
  }
}

export function cancelled(signal: AbortSignal): HundredweightError {
  return signal.reason instanceof HundredweightError
    ? signal.reason
    : new HundredweightError("CANCELLED", "stopped by the caller");
}
