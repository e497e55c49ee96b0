/**
 * Seats of the servers that use one folder: files, each locked by the server that sits there for as long as it lives.
 * A conversation whose messages wait to be sent names the seat of its server; when nobody sits there, that server has
 * ended, and whoever comes next takes over.
 */
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { holdFileLock } from "../../process/file-lock.js";

/** Servers of one folder at a time that take on messages; more of them share the last seat. */
const mostSeats = 16;

export class Seats {
  readonly #folder: string;
  #taken: Promise<number> | undefined;
  #file: FileHandle | undefined;

  /** @param folder the data folder */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** The seat of this server, taken when it is first asked for. @throws FILE_IO */
  own(): Promise<number> {
    this.#taken ??= this.#take();
    return this.#taken;
  }

  /** Whether nobody else sits there. */
  async isFree(seat: number): Promise<boolean> {
    if (seat === (await this.own())) return true;
    const file = await holdFileLock(this.#path(seat)).catch(() => undefined);
    await file?.close();
    return file !== undefined;
  }

  async end(): Promise<void> {
    await this.#taken?.catch(() => {});
    await this.#file?.close();
    this.#file = undefined;
  }

  async #take(): Promise<number> {
    for (let seat = 0; seat < mostSeats; seat++) {
      this.#file = await holdFileLock(this.#path(seat));
      if (this.#file !== undefined) return seat;
    }
    return mostSeats - 1;
  }

  #path(seat: number): string {
    return join(this.#folder, `conversations.seat-${seat}.lock`);
  }
}
