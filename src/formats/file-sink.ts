/**
 * Sequential writing in large pieces, one of them on its way while the next is filled. `direct` goes past the page
 * cache: several times faster for files larger than what may be dirty, and it leaves the cache to others.
 */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";

/** Not in TypeScript's library for Node. Its memory begins on a page, which no other buffer of Node promises. */
declare const WebAssembly: {
  Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};
const wasmPage = 65536;

/** Direct writes begin and end on multiples of this, in the file and in memory. */
const block = 4096;
const directPieceBytes = 4 << 20;
const bufferedPieceBytes = 1 << 20;

export class FileSink {
  readonly #path: string;
  #file: FileHandle;
  /** Position in the file under direct writing; undefined: wherever the handle is (devices, pipes). */
  #position: number | undefined;
  #direct: boolean;
  readonly #pieces: readonly [Uint8Array, Uint8Array];
  #filling: 0 | 1 = 0;
  #used = 0;
  #underway: Promise<void> = Promise.resolve();

  private constructor(path: string, file: FileHandle, direct: boolean, memory: ArrayBuffer) {
    this.#path = path;
    this.#file = file;
    this.#direct = direct;
    this.#position = direct ? 0 : undefined;
    const half = memory.byteLength / 2;
    this.#pieces = [new Uint8Array(memory, 0, half), new Uint8Array(memory, half, half)];
  }

  /** @param flags `w` or `wx`; a file system that refuses direct writing is written to as usual */
  static async open(path: string, flags: "w" | "wx", direct: boolean): Promise<FileSink> {
    const memory = direct && constants.O_DIRECT !== undefined ? pageAligned(2 * directPieceBytes) : undefined;
    if (memory !== undefined) {
      const { O_WRONLY, O_CREAT, O_TRUNC, O_EXCL, O_DIRECT } = constants;
      const mode = O_WRONLY | O_CREAT | O_DIRECT | (flags === "wx" ? O_EXCL : O_TRUNC);
      const file = await open(path, mode, 0o666).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "EINVAL") throw error;
        return undefined;
      });
      if (file !== undefined) return new FileSink(path, file, true, memory);
      // Some file systems have made the file before they refuse.
      flags = "w";
    }
    return new FileSink(path, await open(path, flags), false, new ArrayBuffer(2 * bufferedPieceBytes));
  }

  /**
   * Goes on with a file of which the first `from` bytes are right; what is behind them is written again. It is made
   * where it is missing.
   */
  static async resume(path: string, from: number, direct: boolean): Promise<FileSink> {
    await (await open(path, constants.O_RDWR | constants.O_CREAT, 0o666)).close();
    const sink = await FileSink.#existing(path, direct);
    const start = Math.floor(from / block) * block;
    sink.#position = start;
    const plain = await open(path, "r");
    try {
      const { bytesRead } = await plain.read(sink.#pieces[0], 0, from - start, start);
      sink.#used = bytesRead;
    } finally {
      await plain.close();
    }
    return sink;
  }

  static async #existing(path: string, direct: boolean): Promise<FileSink> {
    const memory = direct && constants.O_DIRECT !== undefined ? pageAligned(2 * directPieceBytes) : undefined;
    if (memory !== undefined) {
      const file = await open(path, constants.O_RDWR | constants.O_DIRECT).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "EINVAL") throw error;
        return undefined;
      });
      if (file !== undefined) return new FileSink(path, file, true, memory);
    }
    return new FileSink(path, await open(path, "r+"), false, new ArrayBuffer(2 * bufferedPieceBytes));
  }

  /** The bytes of a resumed file, from its beginning, that are on the disk: waits for them. */
  async durable(): Promise<number> {
    // Direct writing keeps what is no whole block yet.
    if (!this.#direct) await this.#flush();
    await this.#underway;
    await this.#file.datasync();
    return this.#position!;
  }

  /** Takes the bytes over before it returns. */
  async write(chunk: Uint8Array): Promise<void> {
    for (let from = 0; from < chunk.length; ) {
      const piece = this.#pieces[this.#filling];
      const count = Math.min(chunk.length - from, piece.length - this.#used);
      piece.set(count === chunk.length ? chunk : chunk.subarray(from, from + count), this.#used);
      this.#used += count;
      from += count;
      if (this.#used === piece.length) await this.#flush();
    }
  }

  /** Everything is written; on the disk as well when `sync`. */
  async end(sync: boolean): Promise<void> {
    await this.#underway;
    const length = (this.#position ?? 0) + this.#used;
    const known = this.#position !== undefined;
    const padded = this.#direct && this.#used % block !== 0;
    if (padded) {
      const end = Math.ceil(this.#used / block) * block;
      this.#pieces[this.#filling].fill(0, this.#used, end);
      this.#used = end;
    }
    await this.#flush();
    await this.#underway;
    // A file that was gone on with may have been longer.
    if (known) await this.#file.truncate(length);
    if (sync) await this.#file.datasync();
  }

  async close(): Promise<void> {
    await this.#underway.catch(() => {});
    await this.#file.close();
  }

  async #flush(): Promise<void> {
    await this.#underway;
    const bytes = this.#pieces[this.#filling].subarray(0, this.#used);
    this.#filling = this.#filling === 0 ? 1 : 0;
    this.#used = 0;
    this.#underway = this.#put(bytes);
    // Whoever waits for it next gets the error; until then nobody does.
    this.#underway.catch(() => {});
  }

  async #put(bytes: Uint8Array): Promise<void> {
    let at = 0;
    while (at < bytes.length) {
      try {
        const { bytesWritten } = await this.#file.write(bytes, at, bytes.length - at, this.#position ?? null);
        at += bytesWritten;
        if (this.#position !== undefined) this.#position += bytesWritten;
        // What is left of a short write is not aligned any more.
        if (this.#direct && at < bytes.length && bytesWritten % block !== 0) await this.#leaveDirect();
      } catch (error) {
        if (!this.#direct || (error as NodeJS.ErrnoException).code !== "EINVAL") throw error;
        await this.#leaveDirect();
      }
    }
  }

  /** The disk wants another alignment than 4096: go on through the page cache. */
  async #leaveDirect(): Promise<void> {
    const file = await open(this.#path, "r+");
    await this.#file.close();
    this.#file = file;
    this.#direct = false;
  }
}

/** Undefined where address space is limited: the memory reserves gigabytes of it. */
function pageAligned(bytes: number): ArrayBuffer | undefined {
  const pages = bytes / wasmPage;
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer;
  } catch {
    return undefined;
  }
}
