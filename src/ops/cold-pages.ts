/**
 * Which pages of a KV pool are in memory, and the file in which the others lie. A page leaves when another one needs
 * its frame, and is written then; it comes back when rows are stored in it. What is only attended stays on the disk and
 * is read in parts by every pass (native/ops/attention_cold.cc).
 */
import { randomBytes } from "node:crypto";
import { closeSync, ftruncateSync, mkdirSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { HundredweightError } from "../errors.js";
import type { NativeAddon } from "../native/addon.types.js";
import { type ColdLayer, coldLayers } from "./cold-sizes.js";
import { pagePositions, type RowTable } from "./ops.js";

/** Bytes that are copied at a time on their way to the file and back. */
const sliceBytes = 2 ** 20;

export interface ColdPool {
  readonly addon: NativeAddon;
  readonly model: number;
  readonly pool: number;
  readonly pages: number;
  readonly frames: number;
  /** Bytes of each layer's part of a page; the parts follow each other in it. */
  readonly partBytes: readonly number[];
  readonly every: number;
  /** Where the file lies: as long as the process it has no name there, where the system allows that. */
  readonly folder: string;
  /** Parts of pages that are read at a time. */
  readonly places: number;
  /** Writes as `writeSync` does; tests make it fail. */
  readonly write?: typeof writeSync;
}

export class ColdPages {
  readonly #of: ColdPool;
  readonly #pageBytes: number;
  readonly #layers: readonly ColdLayer[];
  readonly #path: string;
  readonly #file: number;
  /** 1 for pages that have a frame. */
  readonly #hot: Uint8Array;
  #hotCount = 0;
  #nameless = false;
  readonly #slice = Buffer.allocUnsafe(sliceBytes);

  /** @throws FILE_IO */
  constructor(of: ColdPool) {
    const { addon, model, pool, pages, partBytes, folder, places } = of;
    this.#of = of;
    this.#pageBytes = partBytes.reduce((sum, bytes) => sum + bytes, 0);
    this.#layers = coldLayers(partBytes, pages);
    this.#hot = new Uint8Array(pages);
    this.#path = join(folder, `${process.pid}-${randomBytes(8).toString("hex")}.kv`);
    this.#file = this.#open(folder);
    try {
      addon.kvColdFile(model, pool, this.#path, places);
    } catch (error) {
      this.close();
      throw error;
    }
    this.#forgetName();
  }

  #open(folder: string): number {
    try {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      const file = openSync(this.#path, "wx+", 0o600);
      // As long as it may become, and empty: blocks are taken as pages are written.
      const { base, stride } = this.#layers.at(-1)!;
      ftruncateSync(file, base + stride * this.#of.pages);
      return file;
    } catch (cause) {
      throw this.#failure("made", cause);
    }
  }

  /** Removes the name: the file is gone with the process then, however that ends. Windows holds on to names. */
  #forgetName(): void {
    try {
      rmSync(this.#path);
      this.#nameless = true;
    } catch {
      // Removed at the end.
    }
  }

  /** Gives every page that rows are stored in a frame.  @param tables of the pool, [sequences * blocks] */
  begin({ count, positions, sequences }: RowTable, tables: Int32Array, blocks: number): void {
    const { every } = this.#of;
    const written = new Set<number>();
    for (let t = 0; t < count; t++) {
      const row = Math.floor(positions[t]! / every);
      const page = tables[sequences[t]! * blocks + Math.floor(row / pagePositions)]!;
      if (page < 0 || written.has(page)) continue;
      written.add(page);
      if (this.#hot[page] === 1) continue;
      // What stands before the first row is there already, unless that is the page's first.
      this.#admit(page, row % pagePositions > 0, () => this.#victim(tables, blocks, written));
    }
  }

  /** Somebody is going to fill a page, or a part of it.  @param keeps whether the rest of it counts */
  beforeWrite(page: number, keeps: boolean): void {
    if (this.#hot[page] === 0) this.#admit(page, keeps, () => this.#hot.indexOf(1));
  }

  /** Gives these pages frames, with the bytes they have; no more of them than rows of a pass are stored in. */
  bring(pages: readonly number[]): void {
    const victim = (): number => this.#hot.findIndex((hot, page) => hot === 1 && !pages.includes(page));
    for (const page of pages) if (this.#hot[page] === 0) this.#admit(page, true, victim);
  }

  /** Bytes of a page, wherever they are.  @throws FILE_IO */
  read(page: number, offset: number, into: Uint8Array): void {
    const { addon, model, pool } = this.#of;
    if (this.#hot[page] === 1) addon.unitRead(model, pool, page, offset, into);
    else this.#readFile(page, offset, into);
  }

  copy(from: number, to: number): void {
    const { addon, model, pool } = this.#of;
    if (from === to) return;
    this.beforeWrite(to, false);
    if (this.#hot[from] === 1) addon.kvCopyPage(model, pool, from, to);
    else this.#fetch(from, to);
  }

  close(): void {
    closeSync(this.#file);
    if (!this.#nameless) rmSync(this.#path, { force: true });
  }

  #admit(page: number, keeps: boolean, victim: () => number): void {
    const { addon, model, pool, frames } = this.#of;
    if (this.#hotCount === frames) this.#park(victim());
    addon.kvFrame(model, pool, page, true);
    this.#hot[page] = 1;
    this.#hotCount++;
    if (keeps) this.#fetch(page, page);
  }

  /**
   * The page that leaves: one that no sequence of the pass has, else the oldest positions but the very first, which
   * many rows look at most. All of them cost a pass the same.
   */
  #victim(tables: Int32Array, blocks: number, written: ReadonlySet<number>): number {
    const blockOf = new Map<number, number>();
    for (const [i, page] of tables.entries()) if (page >= 0) blockOf.set(page, i % blocks);
    let [victim, least] = [-1, Infinity];
    for (let page = this.#hot.indexOf(1); page >= 0; page = this.#hot.indexOf(1, page + 1)) {
      if (written.has(page)) continue;
      const block = blockOf.get(page) ?? -1;
      const rank = block === 0 ? blocks : block;
      if (rank < least) [victim, least] = [page, rank];
    }
    if (victim >= 0) return victim;
    throw new HundredweightError("MEMORY_BUDGET", `${written.size} pages of the KV cache are written in one pass`);
  }

  /** Writes a page and gives its frame back. */
  #park(page: number): void {
    const { addon, model, pool } = this.#of;
    for (let offset = 0; offset < this.#pageBytes; offset += sliceBytes) {
      const bytes = this.#slice.subarray(0, Math.min(sliceBytes, this.#pageBytes - offset));
      addon.unitRead(model, pool, page, offset, bytes);
      this.#writeFile(page, offset, bytes);
    }
    addon.kvFrame(model, pool, page, false);
    this.#hot[page] = 0;
    this.#hotCount--;
  }

  #fetch(from: number, to: number): void {
    const { addon, model, pool } = this.#of;
    for (let offset = 0; offset < this.#pageBytes; offset += sliceBytes) {
      const bytes = this.#slice.subarray(0, Math.min(sliceBytes, this.#pageBytes - offset));
      this.#readFile(from, offset, bytes);
      addon.unitWrite(model, pool, to, offset, bytes);
    }
  }

  /** Where bytes of a page lie in the file: `length` of them, `at` behind the first that is asked for. */
  *#pieces(page: number, offset: number, bytes: number): Generator<{ at: number; place: number; length: number }> {
    for (const { offset: first, bytes: all, base, stride } of this.#layers) {
      const from = Math.max(first, offset);
      const length = Math.min(first + all, offset + bytes) - from;
      if (length > 0) yield { at: from - offset, place: base + page * stride + from - first, length };
    }
  }

  #writeFile(page: number, offset: number, bytes: Uint8Array): void {
    const write = this.#of.write ?? writeSync;
    try {
      for (const { at, place, length } of this.#pieces(page, offset, bytes.length))
        for (let done = 0; done < length; ) done += write(this.#file, bytes, at + done, length - done, place + done);
    } catch (cause) {
      throw this.#failure("written", cause);
    }
  }

  #readFile(page: number, offset: number, into: Uint8Array): void {
    try {
      for (const { at, place, length } of this.#pieces(page, offset, into.length))
        for (let done = 0; done < length; ) {
          const got = readSync(this.#file, into, at + done, length - done, place + done);
          if (got === 0) throw new Error("it ends too soon");
          done += got;
        }
    } catch (cause) {
      throw this.#failure("read", cause);
    }
  }

  #failure(what: string, cause: unknown): HundredweightError {
    const { code, message } = cause as NodeJS.ErrnoException;
    const reason = code === "ENOSPC" ? "the disk is full (ENOSPC)" : (code ?? message);
    return new HundredweightError(
      "FILE_IO",
      `the KV cache's part on the disk cannot be ${what}: ${reason}; another folder is HUNDREDWEIGHT_KV_FOLDER, and ` +
        "a larger --kv-memory or a smaller --ctx needs less of it",
      { path: this.#path },
      { cause },
    );
  }
}
