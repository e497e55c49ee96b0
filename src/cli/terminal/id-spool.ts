/** Ids of a text of any length, in order: few in memory, many in a temporary file that has no name. */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const maxHeld = 1 << 20;

export class IdSpool {
  #held: Int32Array[] = [];
  #count = 0;
  #file: number | undefined;
  #bytes = 0;

  write(ids: Int32Array): void {
    this.#held.push(ids);
    this.#count += ids.length;
    if (this.#count <= maxHeld) return;
    this.#file ??= openNameless();
    for (const part of this.#held) {
      const bytes = Buffer.from(part.buffer, part.byteOffset, part.byteLength);
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#file, bytes, at, bytes.length - at, this.#bytes + at);
      this.#bytes += bytes.length;
    }
    this.#held = [];
    this.#count = 0;
  }

  /** Yields what was written so far, in order. */
  *read(): Generator<Int32Array> {
    for (let at = 0; at < this.#bytes; ) {
      const part = new Int32Array(Math.min(1 << 16, (this.#bytes - at) / 4));
      for (let got = 0; got < part.byteLength; )
        got += readSync(this.#file!, part, got, part.byteLength - got, at + got);
      at += part.byteLength;
      yield part;
    }
    yield* this.#held;
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}

/**
 * Ends with the process, however that ends. Where an open file keeps its name (Windows) the system's cleaning finds it.
 */
function openNameless(): number {
  const folder = mkdtempSync(join(tmpdir(), "hundredweight-ids-"));
  const file = openSync(join(folder, "ids"), "w+", 0o600);
  try {
    rmSync(folder, { recursive: true, force: true });
  } catch {} // there
  return file;
}
