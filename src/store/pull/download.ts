/**
 * Fetches one file: parts by several connections at once, into a file of the final size beside the final one, with a
 * journal of what is durable. The hash follows the parts; only what has the right one gets the final name.
 */
import { constants, mkdirSync, rmSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname, join } from "node:path";
import { HundredweightError } from "../../errors.js";
import { withFileLock } from "../../process/file-lock.js";
import { replaceFileSync } from "../../replace-file.js";
import { workPath } from "../local/records.js";
import { FollowingHash } from "./following-hash.js";
import { PartJournal } from "./journal.js";
import { cancelled, type Patience, Progressed, persist, usualPatience } from "./persist.js";
import { cutOff, NoRanges, readRange } from "./read-range.js";
import { type OpenedRange, RangeReader, type RemoteFile } from "./remote-file.js";
import { writeAll } from "./write-all.js";

export interface DownloadOptions extends Partial<Patience> {
  readonly signal: AbortSignal;
  /** Bytes that are durable or on their way. */
  readonly onProgress?: ((bytes: number) => void) | undefined;
  /** Default 4. */
  readonly connections?: number | undefined;
  /** Default 16 MiB. */
  readonly partBytes?: number | undefined;
}

/** Times a file may change on the server while it is fetched. */
const mostChanges = 2;
/** A try that brings less counts as one that brings nothing. */
const leastProgress = 32 * 2 ** 10;
const lockPatienceMs = 1000;

/** The file on the server is another one now. */
class Changed extends Error {}

/**
 * @param folder the repository's
 * @returns the path of the whole, checked file
 * @throws CHECKSUM_WRONG, NETWORK_FAILED, HUB_REFUSED, DISK_FULL, MODEL_CHANGED, FILE_IO, CANCELLED
 */
export async function download(remote: RemoteFile, folder: string, options: DownloadOptions): Promise<string> {
  const path = join(folder, ...remote.file.split("/"));
  const work = workPath(folder, remote.file);
  mkdirSync(dirname(path), { recursive: true });
  mkdirSync(dirname(work), { recursive: true });
  let begun = false;
  try {
    return await withFileLock(`${work}.lock`, lockPatienceMs, async () => {
      begun = true;
      await downloadPart(remote, work, options);
      replaceFileSync(`${work}.part`, path);
      await syncFolder(dirname(path));
      rmSync(`${work}.journal`, { force: true });
      return path;
    });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOSPC" || code === "EDQUOT") {
      const message = `${path}: no space left; what has been fetched is kept`;
      throw new HundredweightError("DISK_FULL", message, {}, { cause: error });
    }
    if (!begun && code === "FILE_IO")
      throw new HundredweightError("FILE_IO", `${path}: another process is fetching it`, {}, { cause: error });
    throw error;
  }
}

/** Begins again when the file changes on the server. */
async function downloadPart(remote: RemoteFile, work: string, options: DownloadOptions): Promise<void> {
  for (let changes = 0; ; changes++) {
    try {
      return await new Download(remote, work, options).run();
    } catch (error) {
      if (!(error instanceof Changed)) throw error;
      removeWork(work);
      if (changes === mostChanges)
        throw new HundredweightError("MODEL_CHANGED", `${remote.file}: it changes on the server while it is fetched`);
      options.onNote?.(`${remote.file} changed on the server: beginning again`);
    }
  }
}

function removeWork(work: string): void {
  for (const ending of ["part", "journal"]) rmSync(`${work}.${ending}`, { force: true });
}

async function syncFolder(folder: string): Promise<void> {
  // Windows does not open folders.
  const handle = await open(folder).catch(() => undefined);
  await handle?.sync().catch(() => {});
  await handle?.close();
}

class Download {
  readonly #remote: RemoteFile;
  readonly #reader: RangeReader;
  readonly #work: string;
  readonly #options: DownloadOptions & Patience;
  #etag: string | undefined;
  /** Bytes of parts that are under way. */
  #flying = 0;
  #durable = 0;

  constructor(remote: RemoteFile, work: string, options: DownloadOptions) {
    this.#remote = remote;
    this.#reader = new RangeReader(remote);
    this.#work = work;
    this.#options = { ...usualPatience, ...options };
  }

  async run(): Promise<void> {
    const { bytes, sha256, gitSha1, file: name } = this.#remote;
    const etag = sha256 ?? gitSha1 ?? (await this.#askEtag());
    const journal = PartJournal.open(
      `${this.#work}.journal`,
      `${this.#work}.part`,
      { bytes, sha256, etag },
      this.#options.partBytes,
    );
    let file: FileHandle | undefined;
    try {
      file = await open(`${this.#work}.part`, constants.O_RDWR | constants.O_CREAT);
      await file.truncate(bytes);
      const hash = new FollowingHash(file, journal, this.#remote);
      for (let part = 0; part < journal.parts; part++) if (journal.has(part)) this.#durable += journal.sizeOf(part);
      this.#tell();
      try {
        await this.#parallel(journal, file, hash);
      } catch (error) {
        if (!(error instanceof NoRanges)) throw error;
        await this.#whole(journal, file, hash);
      }
      const fault = await hash.fault();
      if (fault !== undefined) {
        removeWork(this.#work);
        throw new HundredweightError("CHECKSUM_WRONG", `${name}: ${fault}; it is deleted, fetch it again`);
      }
      await file.sync();
    } finally {
      journal.close();
      await file?.close();
    }
  }

  /** A server that says nothing of content is at least asked whether the file is the same as before. */
  async #askEtag(): Promise<string | undefined> {
    const read = { from: 0, to: Math.min(1, this.#remote.bytes), use: async () => {} };
    if (read.to > 0) await this.#persist(() => this.#attempt(read, this.#options.signal), this.#options.signal);
    return this.#etag;
  }

  async #parallel(journal: PartJournal, file: FileHandle, hash: FollowingHash): Promise<void> {
    const stop = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, stop.signal]);
    let next = 0;
    let failure: unknown;
    const work = async (): Promise<void> => {
      while (failure === undefined) {
        while (next < journal.parts && journal.has(next)) next++;
        if (next >= journal.parts) return;
        await this.#fetchPart(next++, journal, file, signal);
        hash.advance();
      }
    };
    hash.advance();
    const connections = Array.from({ length: Math.min(this.#options.connections ?? 4, journal.parts) }, () =>
      work().catch((error: unknown) => {
        // The first failure is the reason; the others are ended by it.
        failure ??= error;
        stop.abort();
      }),
    );
    await Promise.all(connections);
    if (failure !== undefined) throw this.#options.signal.aborted ? cancelled(this.#options.signal) : failure;
  }

  async #fetchPart(part: number, journal: PartJournal, file: FileHandle, signal: AbortSignal): Promise<void> {
    const start = part * journal.partBytes;
    const to = start + journal.sizeOf(part);
    let at = start;
    const use = async (bytes: Uint8Array): Promise<void> => {
      await writeAll(file, bytes, at);
      at += bytes.length;
      this.#flying += bytes.length;
      this.#tell();
    };
    await this.#persist(async () => {
      const from = at;
      try {
        await this.#attempt({ from, to, use }, signal, journal.parts > 1);
        if (at < to) throw cutOff(this.#reader);
      } catch (error) {
        throw at - from >= leastProgress ? new Progressed(error) : error;
      }
    }, signal);
    await this.#keep(part, journal, file);
  }

  /** The bytes first, then the word that they are there. */
  async #keep(part: number, journal: PartJournal, file: FileHandle): Promise<void> {
    await file.datasync();
    journal.add(part);
    const bytes = journal.sizeOf(part);
    this.#flying -= bytes;
    this.#durable += bytes;
  }

  /** One connection for the whole file, each time from its beginning; parts that are there already are passed over. */
  async #whole(journal: PartJournal, file: FileHandle, hash: FollowingHash): Promise<void> {
    const { bytes, file: name } = this.#remote;
    const { signal } = this.#options;
    this.#options.onNote?.(`${name}: the server gives no parts of files, one connection fetches all of it`);
    await this.#persist(async () => {
      let gained = false;
      let at = 0;
      this.#flying = 0;
      const use = async (chunk: Uint8Array): Promise<void> => {
        for (let rest = chunk; rest.length > 0; ) {
          const part = Math.floor(at / journal.partBytes);
          const end = part * journal.partBytes + journal.sizeOf(part);
          const piece = rest.subarray(0, end - at);
          const known = journal.has(part);
          if (!known) await writeAll(file, piece, at);
          at += piece.length;
          rest = rest.subarray(piece.length);
          if (known) continue;
          this.#flying += piece.length;
          this.#tell();
          if (at < end) continue;
          await this.#keep(part, journal, file);
          gained = true;
          hash.advance();
        }
      };
      try {
        await this.#attempt({ from: 0, to: bytes, use }, signal);
        if (at < bytes) throw cutOff(this.#reader);
      } catch (error) {
        throw gained ? new Progressed(error) : error;
      }
    }, signal);
  }

  /** @param parts a file that is given whole is no answer */
  #attempt(
    read: { from: number; to: number; use: (bytes: Uint8Array) => Promise<void> },
    signal: AbortSignal,
    parts = false,
  ): Promise<void> {
    const check = ({ etag, whole }: OpenedRange): void => {
      if (etag !== undefined && this.#etag !== undefined && etag !== this.#etag) throw new Changed();
      this.#etag ??= etag;
      if (whole && parts) throw new NoRanges();
    };
    return readRange(this.#reader, { ...read, check, signal, stallMs: this.#options.stallMs });
  }

  #persist(attempt: () => Promise<void>, signal: AbortSignal): Promise<void> {
    return persist(attempt, this.#options, signal);
  }

  #tell(): void {
    this.#options.onProgress?.(this.#durable + this.#flying);
  }
}
