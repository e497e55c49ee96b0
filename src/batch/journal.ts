/**
 * The output file is the journal: a line is in it when its answer is known, and what is in it is never done again.
 * Lines come in the order in which they were finished.
 *
 * After a kill the last line may be torn; after a loss of power, whatever was not synced may be missing or zeros. So
 * what begins as a line of ours and does not end as one is cut off, synced, and done again. The cut is durable before
 * the first new line is written, else both could come back. A synced line is never cut, and nothing else is: a file
 * that holds anything that we did not write is refused as it is.
 */
import {
  closeSync,
  constants,
  fdatasync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  realpathSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { promisify } from "node:util";
import { nonBlocking } from "../regular-file.js";
import { nameOf, readAnswers } from "./answers.js";
import type { LineIndex } from "./line-index.js";
import { takeLock } from "./lock.js";
import type { BatchOutput } from "./output.js";
import type { Place } from "./places.js";
import { writeError, writing } from "./write-error.js";

const syncData = promisify(fdatasync);

/** Answers that a loss of power may cost. */
const syncEveryMs = 1000;

export class Journal implements BatchOutput {
  /** Lines that were answered with an error before. */
  readonly failed: number;
  readonly #path: string;
  readonly #fd: number;
  readonly #lock: string;
  #syncing: Promise<void> | undefined;
  #syncedAt = performance.now();
  #fault: Error | undefined;

  private constructor(path: string, fd: number, lock: string, failed: number) {
    this.#path = path;
    this.#fd = fd;
    this.#lock = lock;
    this.failed = failed;
  }

  /**
   * Marks in `index` what is answered.
   * @throws OPTION_INVALID when the file holds something else or answers to something else, or another process writes
   *   to it; FILE_IO
   */
  static async open({ name, path = name, found }: Place, index: LineIndex): Promise<Journal> {
    // Whoever comes by another name meets the same lock.
    const real = found === undefined ? path : writing(path, () => realpathSync(path));
    const lock = takeLock(real);
    let fd: number | undefined;
    try {
      // Append: every write goes to the end, whatever was cut before.
      const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | nonBlocking;
      const opened = writing(path, () => openSync(real, flags, 0o666));
      fd = opened;
      const { size, goodBytes, failed } = await readAnswers(opened, name, index, (answer) => {
        if (index.isDone(answer.line)) return `${nameOf(answer)} (line ${answer.line}) is answered twice`;
        index.markDone(answer.line);
        return undefined;
      });
      writing(path, () => {
        if (goodBytes < size) ftruncateSync(opened, goodBytes);
        // An editor may have taken the last line feed.
        if (!endsLine(opened, goodBytes)) writeSync(opened, "\n");
        fsyncSync(opened);
        syncFolder(real);
      });
      return new Journal(path, opened, lock, failed);
    } catch (error) {
      if (fd !== undefined) closeSync(fd);
      rmSync(lock, { force: true });
      throw error;
    }
  }

  append(line: Buffer): void {
    if (this.#fault !== undefined) throw writeError(this.#path, this.#fault);
    writing(this.#path, () => {
      for (let at = 0; at < line.length; ) at += writeSync(this.#fd, line, at);
    });
    if (performance.now() - this.#syncedAt >= syncEveryMs) this.#sync();
  }

  /** Makes durable what was appended. @throws FILE_IO */
  async flush(): Promise<void> {
    await this.#syncing;
    this.#sync();
    await this.#syncing;
    if (this.#fault !== undefined) throw writeError(this.#path, this.#fault);
  }

  /** Everything is durable afterwards. */
  async close(): Promise<void> {
    await this.#syncing;
    try {
      writing(this.#path, () => fsyncSync(this.#fd));
    } finally {
      closeSync(this.#fd);
      rmSync(this.#lock, { force: true });
    }
    if (this.#fault !== undefined) throw writeError(this.#path, this.#fault);
  }

  #sync(): void {
    this.#syncedAt = performance.now();
    this.#syncing ??= syncData(this.#fd)
      .catch((error: Error) => {
        this.#fault = error;
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }
}

function endsLine(fd: number, bytes: number): boolean {
  const last = Buffer.alloc(1);
  return bytes === 0 || readSync(fd, last, 0, 1, bytes - 1) !== 1 || last[0] === 10;
}

/** The name of a new file is durable with its folder only; not every system lets folders be synced. */
export function syncFolder(path: string): void {
  let fd: number | undefined;
  try {
    fd = openSync(dirname(resolve(path)), "r");
    fsyncSync(fd);
  } catch {
    // Windows: the file's own sync has to do.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
