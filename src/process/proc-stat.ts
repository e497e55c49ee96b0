/** Reads what Linux tells of a process or a thread, seen from outside. */
import { readFileSync } from "node:fs";

/** Ticks of a second in which proc(5) counts processor time: 100 on every processor that Node runs on. */
const ticks = 100;

/**
 * @param folder of a process or of one of its tasks, below /proc
 * @returns the fields of `stat` from the third one on, since the name before them may hold anything; undefined where it
 *   has ended, and on other systems
 */
export function statOf(folder: string): readonly string[] | undefined {
  try {
    const text = readFileSync(`${folder}/stat`, "latin1");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return undefined;
  }
}

/** @returns milliseconds all threads of a process have computed, in steps of 10; undefined where nobody says */
export function processorMs(pid: number | undefined): number | undefined {
  const fields = pid === undefined ? undefined : statOf(`/proc/${pid}`);
  // proc(5): the fourteenth field is the time in the program, the fifteenth the one in the system.
  return fields && ((Number(fields[11]) + Number(fields[12])) * 1000) / ticks;
}
