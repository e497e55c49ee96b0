/**
 * How long passes take, learned from those that ran: what a prompt's rows may cost those who wait for their next token.
 */

/** A pass may take this long whatever it serves: five tokens a second look alive. */
const alwaysMs = 200;
/** ... or this many times as long as without a prompt's rows. */
const timesDecode = 1.5;
/** Before anything is known. */
const firstRows = 64;
/** A prompt gets on whatever it costs. */
const minRows = 16;
/** Passes of fewer rows say little about the price of one. */
const tellingRows = 32;

export class PassClock {
  /** Milliseconds of a pass of answer rows and nothing else. */
  private decodeMs = 0;
  /** Milliseconds of one prompt row more. */
  rowMs: number | undefined;

  /** A pass of so many rows, of which `decoding` were those of answers in the making. */
  record(rows: number, decoding: number, elapsedMs: number): void {
    if (rows === decoding) {
      this.decodeMs = this.decodeMs === 0 ? elapsedMs : 0.8 * this.decodeMs + 0.2 * elapsedMs;
    } else if (rows - decoding >= tellingRows) {
      const price = Math.max(1e-3, (elapsedMs - Math.min(this.decodeMs, elapsedMs)) / (rows - decoding));
      this.rowMs = this.rowMs === undefined ? price : 0.5 * (this.rowMs + price);
    }
  }

  /** Rows of prompts that a pass may have beside those of answers in the making. */
  promptRows(): number {
    if (this.rowMs === undefined) return firstRows;
    const allowedMs = Math.max(alwaysMs, timesDecode * this.decodeMs) - this.decodeMs;
    return Math.max(minRows, Math.floor(allowedMs / this.rowMs));
  }
}
