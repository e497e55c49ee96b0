/** Memory through which files of pasts pass: made once, so that the plan can count it. */
import { sliceBytes } from "./record.js";

/** Files that are read at the same time; one more is written. */
export const pastReaders = 4;
/** Bytes of all buffers. */
export const pastBufferBytes = (pastReaders + 1) * sliceBytes;

/** A buffer of `sliceBytes` for each reader, and behind them that of the writer; each is made when it is first used. */
export class PastBuffers {
  private readonly made: Buffer[] = [];

  at(user: number): Buffer {
    this.made[user] ??= Buffer.allocUnsafeSlow(sliceBytes);
    return this.made[user];
  }
}
