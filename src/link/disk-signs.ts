/**
 * Whether a process waits for a disk, seen from outside. Weights that are mapped are read by page faults, of which the
 * process itself cannot tell: its thread lies in the system until the page is there.
 */
import { readdirSync } from "node:fs";
import { statOf } from "../process/proc-stat.js";

export class DiskSigns {
  readonly #tasks: string;
  #faults: number | undefined;

  constructor(pid: number, root = "/proc") {
    this.#tasks = `${root}/${pid}/task`;
  }

  /**
   * A thread is in uninterruptible sleep (D), or pages were read from a disk since the last look.
   * @returns undefined where the system does not tell
   */
  look(): boolean | undefined {
    let faults = 0;
    let sleeps = false;
    let seen = 0;
    try {
      for (const task of readdirSync(this.#tasks)) {
        const fields = statOf(`${this.#tasks}/${task}`);
        if (fields === undefined) continue;
        seen++;
        // proc(5): the third field is the state, the twelfth the faults that needed a read.
        if (fields[0] === "D") sleeps = true;
        faults += Number(fields[9]);
      }
    } catch {}
    if (seen === 0) return undefined;
    const before = this.#faults;
    this.#faults = faults;
    return sleeps || (before !== undefined && faults > before);
  }
}
