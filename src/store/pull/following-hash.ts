/** The hash of a file while its parts come in any order. */
import { createHash, type Hash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { HundredweightError } from "../../errors.js";
import type { PartJournal } from "./journal.js";
import type { RemoteFile } from "./remote-file.js";

const hashBytes = 1 << 20;

/** Hashes the file from its beginning as far as parts are there: what is on the disk, not what came. */
export class FollowingHash {
  readonly #file: FileHandle;
  readonly #bytes: number;
  readonly #journal: PartJournal;
  readonly #expected: string | undefined;
  readonly #hash: Hash | undefined;
  #at = 0;
  #chain: Promise<void> = Promise.resolve();

  constructor(file: FileHandle, journal: PartJournal, { bytes, sha256, gitSha1 }: RemoteFile) {
    this.#file = file;
    this.#bytes = bytes;
    this.#journal = journal;
    this.#expected = sha256 ?? gitSha1;
    if (sha256 !== undefined) this.#hash = createHash("sha256");
    else if (gitSha1 !== undefined) this.#hash = createHash("sha1").update(`blob ${bytes}\0`);
  }

  /** A part has been added. */
  advance(): void {
    if (this.#hash === undefined) return;
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
      this.#hash!.update(buffer.subarray(0, bytesRead));
      this.#at += bytesRead;
    }
  }

  /** The difference between the file and what was announced; undefined: none, or nothing was announced. */
  async fault(): Promise<string | undefined> {
    this.advance();
    await this.#chain;
    if (this.#hash === undefined) return undefined;
    const found = this.#hash.digest("hex");
    if (found === this.#expected) return undefined;
    const name = this.#expected!.length === 64 ? "SHA-256" : "git hash";
    return `its ${name} is ${found}, and ${this.#expected} was announced`;
  }
}
