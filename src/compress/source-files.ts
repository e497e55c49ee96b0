/** Files that tensors are read from, each opened once. */
import { type FileHandle, open } from "node:fs/promises";
import { HundredweightError } from "../errors.js";
import type { Extent } from "../formats/index.js";

const pieceBytes = 8 << 20;

export class SourceFiles {
  readonly #handles = new Map<string, Promise<FileHandle>>();

  /** Fills `into` with the bytes at a place. @throws MODEL_CHANGED for a file that ends before, what opening throws */
  async read(path: string, offset: number, into: Uint8Array): Promise<void> {
    const known = this.#handles.get(path) ?? open(path, "r");
    this.#handles.set(path, known);
    const file = await known;
    for (let done = 0; done < into.length; ) {
      const { bytesRead } = await file.read(into, done, into.length - done, offset + done);
      if (bytesRead === 0) throw new HundredweightError("MODEL_CHANGED", `${path}: became shorter while it was read`);
      done += bytesRead;
    }
  }

  /** The bytes of extents, some megabytes at a time. @throws as `read` */
  async *pieces(extents: readonly Extent[]): AsyncGenerator<Uint8Array> {
    for (const { file, offset, bytes } of extents)
      for (let done = 0; done < bytes; done += pieceBytes) {
        const piece = new Uint8Array(Math.min(pieceBytes, bytes - done));
        await this.read(file, offset + done, piece);
        yield piece;
      }
  }

  async close(): Promise<void> {
    for (const handle of this.#handles.values()) await (await handle.catch(() => undefined))?.close();
    this.#handles.clear();
  }
}
