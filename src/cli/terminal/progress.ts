/**
 * A line on stderr for what takes a while: on a terminal it is rewritten in place, with `--progress` into a file or
 * pipe a new line comes every few seconds, otherwise nothing is shown.
 */
import { cut } from "./columns.js";
import { printable } from "./printable.js";

const usualDelayMs = 1000;
const inPlaceMs = 100;
const lineMs = 2000;

export interface ProgressOptions {
  /** Whether files and pipes are told too. */
  readonly forced?: boolean | undefined;
  /** Nothing is told of what is over before. */
  readonly delayMs?: number;
  /** The numbers are bytes, shown in MiB. */
  readonly bytes?: boolean;
  /** @internal Tests have a stream and a clock of their own. */
  readonly stream?: ProgressStream;
  readonly clock?: () => number;
}

export type ProgressStream = Pick<NodeJS.WriteStream, "write"> & Partial<Pick<NodeJS.WriteStream, "isTTY" | "columns">>;

/** Facts beside the numbers. */
export interface ProgressFacts {
  /** Facts of their own, in their order: `118 tokens`, `2.3/s`. */
  readonly facts?: readonly string[];
  /** Milliseconds until the end; absent: as long as it took so far, by parts. NaN: nobody knows. */
  readonly leftMs?: number;
}

export class Progress {
  private readonly label: string;
  private readonly options: ProgressOptions;
  private readonly stream: ProgressStream;
  private readonly clock: () => number;
  private readonly began: number;
  private readonly inPlace: boolean;
  private first: number | undefined;
  private lastShown = Number.NEGATIVE_INFINITY;
  private shown = false;

  constructor(label: string, options: ProgressOptions = {}) {
    this.label = label;
    this.options = options;
    this.stream = options.stream ?? process.stderr;
    this.clock = options.clock ?? (() => performance.now());
    this.began = this.clock();
    this.inPlace = this.stream.isTTY === true && process.env.TERM !== "dumb";
  }

  /** Whether anybody looks. */
  get enabled(): boolean {
    return this.options.forced === true || this.inPlace;
  }

  update(done: number, total: number, { facts = [], leftMs }: ProgressFacts = {}): void {
    const now = this.clock();
    this.first ??= done;
    const { delayMs = usualDelayMs, bytes = false } = this.options;
    if (!this.enabled || now - this.began < delayMs) return;
    if (now - this.lastShown < (this.inPlace ? inPlaceMs : lineMs)) return;
    this.lastShown = now;
    this.shown = true;
    const numbers = bytes ? `${mebibytes(done)} of ${mebibytes(total)} MiB` : `${done} of ${total}`;
    const made = done - this.first;
    const left = leftMs ?? (made > 0 ? ((now - this.began) * (total - done)) / made : Number.NaN);
    const parts = [`${this.label} ${numbers}`.trimStart(), ...facts];
    if (left > 0) parts.push(`about ${roughly(left)} left`);
    const line = printable(parts.join(" · "));
    if (!this.inPlace) this.stream.write(`${line}\n`);
    // In the last column some terminals begin a new line.
    else this.stream.write(`\r\x1b[K${cut(line, (this.stream.columns || 80) - 1)}`);
  }

  /** Removes the line. */
  end(): void {
    if (this.shown && this.inPlace) this.stream.write("\r\x1b[K");
    this.shown = false;
  }
}

const mebibytes = (bytes: number): number => Math.floor(bytes / 2 ** 20);

/** A time for people: `2 min 10 s`. */
export function duration(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

/** A time that nobody knows well: `2 min` from two minutes on, seconds below. */
function roughly(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000));
  return seconds < 120 || seconds >= 3600 ? duration(1000 * seconds) : `${Math.round(seconds / 60)} min`;
}
