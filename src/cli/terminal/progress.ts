/**
 * A line on stderr for what takes longer than a second: on a terminal it is rewritten in place, with `--progress` into
 * a file or pipe a new line comes every few seconds, otherwise nothing is shown.
 */
import { printable } from "./printable.js";

const showAfterMs = 1000;

export class Progress {
  private readonly label: string;
  private readonly began = performance.now();
  private readonly everyMs: number;
  private readonly enabled: boolean;
  private readonly inPlace: boolean;
  private lastShown = 0;
  private shown = false;

  constructor(label: string, forced = false) {
    this.label = label;
    this.inPlace = process.stderr.isTTY === true;
    this.enabled = forced || this.inPlace;
    this.everyMs = this.inPlace ? 100 : 2000;
  }

  update(done: number, total: number, note = ""): void {
    const now = performance.now();
    if (!this.enabled || now - this.began < showAfterMs || now - this.lastShown < this.everyMs) return;
    this.lastShown = now;
    this.shown = true;
    const share = total > 0 ? ` ${Math.floor((100 * done) / total)} %` : "";
    const left = done > 0 && total > done ? `, ${duration(((now - this.began) * (total - done)) / done)} left` : "";
    const line = printable(`${this.label}${share} (${done}/${total}${left})${note === "" ? "" : ` ${note}`}`);
    process.stderr.write(this.inPlace ? `\r\x1b[K${line}` : `${line}\n`);
  }

  /** Removes the line. */
  end(): void {
    if (this.shown && this.inPlace) process.stderr.write("\r\x1b[K");
    this.shown = false;
  }
}

/** A time for people: `2 min 10 s`. */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}
