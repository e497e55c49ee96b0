/**
 * How much longer computing takes because others want the processors, too: from the threads of the whole machine that
 * are ready to run, looked at while the model does nothing.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { defaultMachine } from "../../weights/machine.js";

/** Ten seconds of looking twice a second: others come and go. */
const keptLooks = 20;
/** Four seconds: the browser that opens the page wants both processors itself, and only then. */
const leastLooks = 8;

/** How many times as long computing takes because of others, in tenths; at least 1. */
export interface Slowdown {
  /** A pass of many rows: others do what a thread does not come to do. */
  readonly prompt: number;
  /**
   * A pass of one row: its threads meet every few microseconds, so the time that each of them has to wait is all
   * the others' time as well. With many threads those times overlap.
   */
  readonly token: number;
}

const tenths = (value: number): number => Math.round(10 * value) / 10;

export class OtherWork {
  readonly #looks: number[] = [];
  readonly #read: () => string;
  readonly #threads: number;
  readonly #processors: number;

  /** @param threads of the model */
  constructor(
    read: () => string = () => readFileSync("/proc/stat", "latin1"),
    threads: number = defaultMachine().threads,
    processors: number = availableParallelism(),
  ) {
    this.#read = read;
    this.#threads = threads;
    this.#processors = processors;
  }

  /** Call while the model does nothing: its threads are not others. Elsewhere than on Linux nothing is seen. */
  look(): void {
    let text: string;
    try {
      text = this.#read();
    } catch {
      return;
    }
    const ready = /^procs_running (\d+)$/m.exec(text)?.[1];
    if (ready === undefined) return;
    // One of them is whoever looks.
    this.#looks.push(Math.max(0, Number(ready) - 1));
    if (this.#looks.length > keptLooks) this.#looks.shift();
  }

  get slowdown(): Slowdown {
    if (this.#looks.length < leastLooks) return { prompt: 1, token: 1 };
    // The middle one: what runs for a moment is over before the prompt is read.
    const others = [...this.#looks].sort((a, b) => a - b)[this.#looks.length >> 1]!;
    // A fair system gives every thread the same.
    const fair = Math.max(1, (this.#threads + others) / this.#processors);
    const busiest = Math.ceil(fair) ** 2;
    return { prompt: tenths(fair), token: tenths(Math.min(1 + this.#threads * (fair - 1), busiest)) };
  }
}
