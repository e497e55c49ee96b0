/**
 * Remembers which parts of a file lie on the disk, so that a download goes on where it was killed: a first line says
 * of which file, then each part has a line, written when its bytes are durable. A torn line has no end and does not
 * count.
 */
import { closeSync, constants, fsyncSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { fileStats } from "../local/walk.js";

/** Facts that tell a file from another one by the same name. */
export interface Identity {
  readonly bytes: number;
  readonly sha256?: string | undefined;
  readonly etag?: string | undefined;
}

const version = 1;
/** Some seconds' worth of most networks; what a kill costs is at most a part a connection. */
export const usualPartBytes = 16 * 2 ** 20;

export class PartJournal {
  readonly partBytes: number;
  readonly #bytes: number;
  readonly #fd: number;
  readonly #done: Uint8Array;

  private constructor(partBytes: number, bytes: number, fd: number, done: Uint8Array) {
    this.partBytes = partBytes;
    this.#bytes = bytes;
    this.#fd = fd;
    this.#done = done;
  }

  /** Goes on with the journal when it and `part` are of this file, else begins a new one and empties `part`. */
  static open(path: string, part: string, identity: Identity, partBytes: number = usualPartBytes): PartJournal {
    const head = `${JSON.stringify({ version, partBytes, ...identity })}\n`;
    const done = new Uint8Array(Math.ceil(identity.bytes / partBytes));
    const kept = fileStats(part)?.size === identity.bytes ? readLines(path, head) : undefined;
    for (const number of kept ?? []) if (number < done.length) done[number] = 1;
    const { O_RDWR, O_CREAT, O_APPEND, O_TRUNC } = constants;
    const fd = openSync(path, O_RDWR | O_CREAT | O_APPEND | (kept === undefined ? O_TRUNC : 0), 0o666);
    // Behind a torn line a new one begins.
    writeSync(fd, kept === undefined ? head : "\n");
    if (kept === undefined) rmSync(part, { force: true });
    return new PartJournal(partBytes, identity.bytes, fd, done);
  }

  get parts(): number {
    return this.#done.length;
  }

  /** Bytes of a part; the last one is shorter. */
  sizeOf(part: number): number {
    return Math.min(this.partBytes, this.#bytes - part * this.partBytes);
  }

  has(part: number): boolean {
    return this.#done[part] === 1;
  }

  /** Call it when the bytes of the part are durable. */
  add(part: number): void {
    writeSync(this.#fd, `part ${part} done\n`);
    fsyncSync(this.#fd);
    this.#done[part] = 1;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** The parts of a journal that begins with `head`; undefined for another one, or none. */
function readLines(path: string, head: string): number[] | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
  if (!text.startsWith(head)) return undefined;
  return [...text.matchAll(/^part (\d{1,7}) done$/gm)].map(([, number]) => Number(number));
}
