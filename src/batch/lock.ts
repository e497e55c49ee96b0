/** One process per output: two would double lines. A lock whose process is gone was left by a kill. */
import { closeSync, lstatSync, mkdirSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { HundredweightError } from "../errors.js";
import { isAlive } from "../process/alive.js";
import { writing } from "./write-error.js";

/** A process id. */
const mostBytes = 20;

export const lockOf = (output: string): string => `${output}.lock`;

/** @throws OPTION_INVALID when a living process holds it, or the file of that name is none of ours; FILE_IO */
export function takeLock(output: string): string {
  const lock = lockOf(output);
  for (let attempt = 0; ; attempt++) {
    try {
      mkdirSync(dirname(lock), { recursive: true });
      const fd = openSync(lock, "wx");
      writeSync(fd, String(process.pid));
      closeSync(fd);
      return lock;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST" || attempt === 3)
        writing(lock, () => {
          throw error;
        });
    }
    const owner = ownerOf(lock);
    if (owner > 0 && owner !== process.pid && isAlive(owner))
      throw new HundredweightError("OPTION_INVALID", `process ${owner} writes to ${output} (if not, delete ${lock})`);
    rmSync(lock, { force: true });
  }
}

/** 0: killed before it said who it is. */
function ownerOf(lock: string): number {
  const found = lstatSync(lock, { throwIfNoEntry: false });
  if (found === undefined) return 0;
  const text = found.isFile() && found.size <= mostBytes ? readFileSync(lock, "utf8") : "?";
  if (/^\d*$/.test(text)) return Number(text);
  throw new HundredweightError(
    "OPTION_INVALID",
    `${lock} is in the way: ${output(lock)} needs that name while it is written`,
  );
}

const output = (lock: string): string => lock.slice(0, -".lock".length);
