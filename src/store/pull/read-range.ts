/** One try to read a range of a remote file, watched so that it does not stand still. */
import { HundredweightError } from "../../errors.js";
import { cancelled, PassingFailure } from "./persist.js";
import type { OpenedRange, RangeReader } from "./remote-file.js";
import { StallWatch } from "./stall-watch.js";

/** The server gives the whole file whatever is asked. */
export class NoRanges extends Error {}

export interface RangeRead {
  readonly from: number;
  readonly to: number;
  readonly stallMs: number;
  readonly signal: AbortSignal;
  /** Looks at the answer before anything is taken of it. */
  readonly check: (opened: OpenedRange) => void;
  readonly use: (bytes: Uint8Array) => Promise<void>;
}

/**
 * Asks once for [from, to) and hands over what comes, which may end early.
 * @throws PassingFailure for what a new try may mend; NoRanges for a file that is given whole and was not asked for so;
 *   what `check` and `use` throw; HUB_REFUSED, NETWORK_FAILED, CANCELLED
 */
export async function readRange(source: RangeReader, read: RangeRead): Promise<void> {
  const { from, to, stallMs, signal: outer } = read;
  const watch = new StallWatch(stallMs, outer);
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  try {
    const opened = await source.open(from, to, watch.signal);
    reader = opened.body.getReader();
    read.check(opened);
    if (opened.whole && from > 0) throw new NoRanges();
    for (let left = Math.min(opened.to, to) - from; left > 0; ) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw cutOff(source, error);
      });
      if (done) return;
      // More than was asked for is nobody's.
      await read.use(value.subarray(0, left));
      left -= value.length;
      // What the disk took is not the server's silence.
      watch.touch();
    }
  } catch (error) {
    if (outer.aborted) throw cancelled(outer);
    if (!watch.stalled) throw error;
    const silent = `sends nothing for ${stallMs / 1000} s; what has been fetched is kept`;
    throw failure(source, silent);
  } finally {
    watch.close();
    await reader?.cancel().catch(() => {});
  }
}

export const cutOff = (source: RangeReader, cause?: unknown): PassingFailure =>
  failure(source, "breaks off the connection; what has been fetched is kept", cause);

function failure({ file: { file, url } }: RangeReader, what: string, cause?: unknown): PassingFailure {
  return new PassingFailure(new HundredweightError("NETWORK_FAILED", `${file}: ${url.host} ${what}`, {}, { cause }));
}
