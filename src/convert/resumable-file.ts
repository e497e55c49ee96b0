/**
 * Writes a file of many pieces so that whoever was killed goes on where it was: pieces that lie on the disk stand in a
 * journal beside the unfinished file. The finished one appears whole, under its name.
 */
import { createHash } from "node:crypto";
import { closeSync, constants, fsyncSync, openSync, readFileSync, rmSync, statSync, writeSync } from "node:fs";
import { realpath, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { HundredweightError } from "../errors.js";
import { FileSink } from "../formats/file-sink.js";
import { io } from "../formats/gguf-write.js";
import { checkRoom } from "../formats/room.js";
import { holdFileLock } from "../process/file-lock.js";
import { checkOutputPath } from "../regular-file.js";

/** Bytes of a file that belong together. */
export interface FilePiece {
  readonly name: string;
  readonly bytes: number;
  /** Zeros behind it. */
  readonly padding: number;
  /** Together exactly its bytes; called when its turn comes. */
  readonly data: () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

export interface ResumableFile {
  readonly path: string;
  readonly head: Uint8Array;
  readonly pieces: readonly FilePiece[];
  /** The bytes at the end, given the CRC-32 of all before it. */
  readonly tail?: (crc: number) => Uint8Array;
  /** A name for what the bytes follow from beside the head: another source is another file. */
  readonly identity: string;
}

export interface WriteOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called after each part of a piece. */
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
  /** Called before the first piece is made, with the number of pieces that an earlier run had written. */
  readonly onResume?: ((pieces: number) => void) | undefined;
  /** Bytes between two lines of the journal, which make the disk write what it holds back. */
  readonly lineBytes?: number | undefined;
}

export interface Written {
  readonly bytes: number;
  /** Bytes that an earlier run had written. */
  readonly resumedBytes: number;
}

/** A smaller file will be read soon and may stay in the page cache. */
const directFrom = 256 * 2 ** 20;
const usualLineBytes = 64 * 2 ** 20;
const kept = "what is written stays, the same command goes on from there";

/**
 * @throws FILE_IO (no room, disk full, permission, another process writes it), FILE_NOT_REGULAR, CANCELLED, what a
 *   piece throws
 */
export async function writeResumable(file: ResumableFile, options: WriteOptions = {}): Promise<Written> {
  checkOutputPath(file.path);
  const target = await realpath(file.path).catch(() => file.path);
  if (!exists(dirname(target)))
    throw new HundredweightError("FILE_NOT_FOUND", `${file.path}: there is no folder ${dirname(target)}`);
  const [partial, journalPath] = [`${target}.partial`, `${target}.journal`];
  const lock = await holdFileLock(journalPath);
  if (lock === undefined) throw new HundredweightError("FILE_IO", `${file.path}: another process is writing this file`);
  try {
    const journal = Journal.open(journalPath, partial, file);
    try {
      const written = await writePieces(file, partial, journal, options);
      await io(file.path, () => rename(partial, target), kept);
      syncFolder(dirname(target));
      return written;
    } finally {
      journal.close();
    }
  } finally {
    // A journal without its file is of no use, and is left where it is needed.
    if (!exists(partial)) rmSync(journalPath, { force: true });
    await lock.close();
  }
}

async function writePieces(
  file: ResumableFile,
  partial: string,
  journal: Journal,
  { signal, onProgress, onResume, lineBytes = usualLineBytes }: WriteOptions,
): Promise<Written> {
  const { path, head, pieces, tail } = file;
  const ends = [head.length];
  for (const { bytes, padding } of pieces) ends.push(ends.at(-1)! + bytes + padding);
  const total = ends.at(-1)!;
  const { done: first } = journal;
  let { crc } = journal;
  const from = first === undefined ? 0 : ends[first]!;
  await checkRoom(path, total - from);
  const sink = await io(path, () => FileSink.resume(partial, from, total > directFrom), kept);
  /** CRC at the end of each piece. */
  const sums = new Map<number, number>();
  let written = from;
  const write = async (bytes: Uint8Array): Promise<void> => {
    if (signal?.aborted) throw new HundredweightError("CANCELLED", `${path}: stopped; ${kept}`);
    if (tail !== undefined) crc = crc32(bytes, crc);
    await io(path, () => sink.write(bytes), kept);
    written += bytes.length;
  };
  try {
    if (first === undefined) await write(head);
    else onResume?.(first);
    let noted = from;
    for (let p = first ?? 0; p < pieces.length; p++) {
      const piece = pieces[p]!;
      let got = 0;
      for await (const chunk of piece.data()) {
        got += chunk.length;
        if (got > piece.bytes) break;
        await write(chunk);
        onProgress?.(written, total);
      }
      if (got !== piece.bytes)
        throw new HundredweightError("INTERNAL", `'${piece.name}' of ${piece.bytes} bytes came as ${got}`);
      await write(new Uint8Array(piece.padding));
      sums.set(p + 1, crc);
      if (written - noted < lineBytes) continue;
      noted = await io(path, () => sink.durable(), kept);
      let whole = p + 1;
      while (whole > 0 && ends[whole]! > noted) whole--;
      if (sums.has(whole)) journal.add(whole, sums.get(whole)!);
    }
    if (tail !== undefined) await write(tail(crc));
    await io(path, () => sink.end(true), kept);
  } finally {
    await sink.close().catch(() => {});
  }
  return { bytes: written, resumedBytes: from };
}

/** Lines `pieces N crc C`: so many are durable. The first line says of which file. A torn line does not count. */
class Journal {
  readonly done: number | undefined;
  readonly crc: number;
  readonly #fd: number;

  private constructor(fd: number, done: number | undefined, crc: number) {
    this.#fd = fd;
    this.done = done;
    this.crc = crc;
  }

  static open(path: string, partial: string, { head, pieces, identity }: ResumableFile): Journal {
    const sizes = pieces.map(({ name, bytes, padding }) => [name, bytes, padding]);
    const hash = createHash("sha256").update(head).update(JSON.stringify(sizes)).update(identity).digest("hex");
    const first = `convert 1 ${hash}\n`;
    const text = readFileSync(path, "utf8");
    const known = text.startsWith(first) && exists(partial);
    const [, done, crc] = (known ? [...text.matchAll(/^pieces (\d{1,7}) crc (\d{1,10})$/gm)].at(-1) : undefined) ?? [];
    const fd = openSync(path, constants.O_WRONLY | constants.O_APPEND | (known ? 0 : constants.O_TRUNC));
    // Behind a torn line a new one begins.
    writeSync(fd, known ? "\n" : first);
    if (!known) rmSync(partial, { force: true });
    return new Journal(fd, done === undefined ? undefined : Number(done), Number(crc ?? 0));
  }

  add(pieces: number, crc: number): void {
    writeSync(this.#fd, `pieces ${pieces} crc ${crc}\n`);
    fsyncSync(this.#fd);
  }

  close(): void {
    closeSync(this.#fd);
  }
}

const exists = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;

/** That the file has its name now is on the disk, too. Not every system lets a folder be opened. */
function syncFolder(path: string): void {
  try {
    const fd = openSync(path, constants.O_RDONLY);
    try {
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {}
}
