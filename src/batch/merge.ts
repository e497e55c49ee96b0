/**
 * Files of answers as one, in the order of the input: those of shards, or one that is to be sorted. Lines are taken
 * over byte for byte. The file is made beside its place and renamed, so that there is an old or a new one.
 */
import { closeSync, fsyncSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { fileError, HundredweightError } from "../errors.js";
import { nonBlocking } from "../regular-file.js";
import { replaceFile } from "../replace-file.js";
import { readAnswers } from "./answers.js";
import { syncFolder } from "./journal.js";
import type { LineIndex } from "./line-index.js";
import { takeLock } from "./lock.js";
import { maxAnswerBytes } from "./output.js";
import { type Place, refuseSameFile } from "./places.js";
import { writeError, writing } from "./write-error.js";

const mostSources = 10_000;
const bufferBytes = 2 ** 20;

/** Where a line's answer lies: a file, and a range of it; bit 31 of the file says that the answer is an error. */
class Places {
  readonly files: Uint32Array;
  readonly starts: Float64Array;
  readonly bytes: Uint32Array;

  constructor(lines: number) {
    this.files = new Uint32Array(lines + 1);
    this.starts = new Float64Array(lines + 1);
    this.bytes = new Uint32Array(lines + 1);
  }
}

const failedBit = 2 ** 31;

export interface Merged {
  /** In the file. */
  readonly done: number;
  readonly failed: number;
  /** Lines that were in more than one file; an answer is preferred to an error, and the file named first to others. */
  readonly doubled: number;
}

/**
 * Marks in `index` what is answered. What `output` held is taken over too, if it is answers to the same input.
 * @throws OPTION_INVALID when a file holds something else; FILE_NOT_FOUND, FILE_IO
 */
export async function mergeAnswers(
  index: LineIndex,
  lastLine: number,
  sources: readonly Place[],
  output: Place & { readonly path: string },
): Promise<Merged> {
  if (sources.length > mostSources)
    throw new HundredweightError("OPTION_INVALID", `--merge: more than ${mostSources} files; merge some of them first`);
  for (const source of sources) refuseSameFile(source, output);
  const lock = takeLock(output.path);
  const fds: number[] = [];
  try {
    const places = new Places(lastLine);
    const count = { done: 0, failed: 0, doubled: 0 };
    for (const { name, path } of output.found === undefined ? sources : [...sources, output]) {
      const fd = opened(path ?? name);
      fds.push(fd);
      const file = fds.length;
      await readAnswers(fd, name, index, ({ line, failed }, { start, end, ended }) => {
        const known = places.files[line]!;
        if (known !== 0 && file <= sources.length) count.doubled++;
        if (known !== 0 && (known < failedBit || failed)) return undefined;
        if (known === 0) count.done++;
        else count.failed--;
        if (failed) count.failed++;
        index.markDone(line);
        places.files[line] = failed ? file + failedBit : file;
        places.starts[line] = start;
        places.bytes[line] = end - start - (ended ? 1 : 0);
        return undefined;
      });
    }
    await write(output.path, fds, places);
    return count;
  } finally {
    for (const fd of fds) closeSync(fd);
    rmSync(lock, { force: true });
  }
}

function opened(path: string): number {
  try {
    return openSync(path, nonBlocking);
  } catch (error) {
    throw fileError(path, error);
  }
}

async function write(path: string, fds: readonly number[], places: Places): Promise<void> {
  const part = `${path}.part`;
  const fd = writing(part, () => openSync(part, "w", 0o666));
  try {
    let held: Buffer[] = [];
    let heldBytes = 0;
    const flush = (): void => {
      const bytes = Buffer.concat(held);
      writing(part, () => {
        for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      });
      held = [];
      heldBytes = 0;
    };
    for (let line = 1; line < places.files.length; line++) {
      const file = places.files[line]! % failedBit;
      if (file === 0) continue;
      held.push(trimmed(bytesAt(fds[file - 1]!, places.starts[line]!, places.bytes[line]!)), lineFeed);
      heldBytes += places.bytes[line]! + 1;
      if (heldBytes >= bufferBytes) flush();
    }
    flush();
    writing(part, () => fsyncSync(fd));
  } catch (error) {
    closeSync(fd);
    rmSync(part, { force: true });
    throw error;
  }
  closeSync(fd);
  await replaceFile(part, path).catch((error: unknown) => {
    rmSync(part, { force: true });
    throw writeError(path, error);
  });
  syncFolder(path);
}

const lineFeed = Buffer.from("\n");

function bytesAt(fd: number, start: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(Math.min(length, maxAnswerBytes));
  for (let at = 0; at < bytes.length; ) {
    const read = readSync(fd, bytes, at, bytes.length - at, start + at);
    if (read === 0) throw new HundredweightError("FILE_IO", "a file of answers became shorter while it was read");
    at += read;
  }
  return bytes;
}

/** Leaves out what an editor left around a line. */
function trimmed(bytes: Buffer): Buffer {
  const from = bytes.indexOf(0x7b);
  return bytes.subarray(Math.max(0, from), bytes.lastIndexOf(0x7d) + 1);
}
