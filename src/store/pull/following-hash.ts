/** The hash of a file while its parts come in any order. */
import type { FileHandle } from "node:fs/promises";
import { HundredweightError } from "../../errors.js";
import { announcedHash } from "./hash-file.js";
import type { PartJournal } from "./journal.js";
import type { RemoteFile } from "./remote-file.js";

const hashBytes = 1 << 20;

/** Hashes the file from its beginning as far as parts are there: what is on the disk, not what came. */
export class FollowingHash {
  readonly #file: FileHandle;
  readonly #bytes: number;
  readonly #journal: PartJournal;
  readonly #announced: ReturnType<typeof announcedHash>;
  #at = 0;
  #chain: Promise<void> = Promise.resolve();

  constructor(file: FileHandle, journal: PartJournal, remote: RemoteFile) {
    this.#file = file;
    this.#bytes = remote.bytes;
    this.#journal = journal;
    this.#announced = announcedHash(remote);
  }

  /** A part has been added. */
  advance(): void {
    if (this.#announced === undefined) return;
    // A failure is told by `fault`.
    this.#chain = this.#chain.then(() => this.#follow());
    this.#chain.catch(() => {});
  }

  async #follow(): Promise<void> {
    const buffer = Buffer.allocUnsafe(hashBytes);
    const { partBytes } = this.#journal;
    for (;;) {
      const part = Math.floor(this.#at / partBytes);
      if (this.#at >= this.#bytes || !this.#journal.has(part)) return;
      const end = part * partBytes + this.#journal.sizeOf(part);
      const most = Math.min(hashBytes, end - this.#at);
      const { bytesRead } = await this.#file.read(buffer, 0, most, this.#at);
      if (bytesRead === 0) throw new HundredweightError("FILE_IO", "the file became shorter while it was fetched");
      this.#announced!.hash.update(buffer.subarray(0, bytesRead));
      this.#at += bytesRead;
    }
  }

  /** The difference between the file and what was announced; undefined: none, or nothing was announced. */
  async fault(): Promise<string | undefined> {
    this.advance();
    await this.#chain;
    if (this.#announced === undefined) return undefined;
    const { hash, expected } = this.#announced;
    const found = hash.digest("hex");
    if (found === expected) return undefined;
    const name = expected.length === 64 ? "SHA-256" : "git hash";
    return `its ${name} is ${found}, and ${expected} was announced`;
  }
}
