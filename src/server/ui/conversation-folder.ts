/**
 * The folder of conversations, which several servers may use at once: what is in it, whether a file is still the one
 * that was read, and writing one whole. Nothing here is ever waited for but the disk: what is no regular file is left
 * alone.
 */
import { randomBytes } from "node:crypto";
import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { HundredweightError } from "../../errors.js";
import { withFileLock } from "../../process/file-lock.js";
import { openRegular } from "../../regular-file.js";
import { replaceFile } from "../../replace-file.js";
import { decodeConversation, decodeHeader, type HeaderCounts, limits } from "./conversation-file.js";
import { idPattern } from "./ids.js";
import type { Conversation, ConversationHeader } from "./wire.js";

export type Row = ConversationHeader & HeaderCounts;

/** Which file it is and when it was last changed: another one, or another content, has another stamp. */
export type Stamp = string;

/** The first line of a file fits: a title and a folder of 200 characters, escaped, take 2.4 KB. */
const headerBytes = 4096;
/** Files looked at together. */
const atOnce = 32;
/** Clocks of file systems tick every few milliseconds: a folder that changed so recently may change again unseen. */
const tickMs = 100;
/** The lock is held for one write to the disk; who holds it longer is stopped, or its disk hangs. */
const patienceMs = 15_000;
const suffix = ".conversation.jsonl";

interface Seen {
  readonly stamp: Stamp;
  /** Undefined: a file whose beginning makes no sense. */
  readonly row: Row | undefined;
}

export class ConversationFolder {
  readonly #folder: string;
  readonly #log: (line: string) => void;
  /** By id, as of the last look. */
  #seen = new Map<string, Seen>();
  #seenAt: { readonly mtimeMs: number; readonly settled: boolean } | undefined;
  #looking: Promise<ReadonlyMap<string, Seen>> | undefined;
  /** Those of this process take turns before they ask the system. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #told = new Set<string>();

  constructor(folder: string, log: (line: string) => void) {
    this.#folder = folder;
    this.#log = log;
  }

  /** Lists what is there now. Headers are read again where a file has changed. @throws FILE_IO */
  async rows(): Promise<Row[]> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return [...(await this.#looking).values()].flatMap(({ row }) => row ?? []);
  }

  async #look(): Promise<ReadonlyMap<string, Seen>> {
    let names: string[];
    try {
      const { mtimeMs } = await stat(this.#folder);
      if (this.#seenAt?.settled === true && this.#seenAt.mtimeMs === mtimeMs) return this.#seen;
      this.#seenAt = { mtimeMs, settled: Math.abs(Date.now() - mtimeMs) > tickMs };
      names = await readdir(this.#folder);
    } catch (error) {
      this.#seenAt = undefined;
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw ioError(error);
      this.#seen = new Map();
      return this.#seen;
    }
    const ids: string[] = [];
    for (const name of names.sort().reverse()) {
      const id = name.slice(0, -suffix.length);
      if (name.endsWith(suffix) && idPattern.test(id) && ids.length < limits.conversations) ids.push(id);
    }
    const seen = new Map<string, Seen>();
    for (let from = 0; from < ids.length; from += atOnce) {
      const part = ids.slice(from, from + atOnce);
      const found = await Promise.all(part.map((id) => this.#header(id)));
      for (const [i, each] of found.entries()) if (each !== undefined) seen.set(part[i]!, each);
    }
    this.#seen = seen;
    return seen;
  }

  /** A file whose beginning makes no sense is left alone and not listed; one that is no file is told of, once. */
  async #header(id: string): Promise<Seen | undefined> {
    const stamp = await this.stamp(id);
    if (stamp === undefined) return undefined;
    const known = this.#seen.get(id);
    if (known?.stamp === stamp) return known;
    try {
      const file = await openRegular(this.path(id));
      const buffer = Buffer.alloc(headerBytes);
      const { bytesRead } = await file.read(buffer, 0, headerBytes, 0).finally(() => file.close());
      const row = decodeHeader(buffer.toString("utf8", 0, bytesRead).split("\n", 1)[0]!);
      return { stamp, row: row.id === id ? row : undefined };
    } catch (error) {
      if ((error as HundredweightError).code === "FILE_NOT_REGULAR") this.#tell(id, (error as Error).message);
      return { stamp, row: undefined };
    }
  }

  #tell(id: string, line: string): void {
    if (this.#told.has(id)) return;
    this.#told.add(id);
    this.#log(`conversations: ${line}; it is left alone`);
  }

  /** The stamp of the file as it is now; undefined when there is none. @throws FILE_IO */
  async stamp(id: string): Promise<Stamp | undefined> {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(this.path(id), { bigint: true });
      return `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT" || code === "ENOTDIR") return undefined;
      throw ioError(error);
    }
  }

  /** @throws CONVERSATION_LIMIT, FORMAT_INVALID, FILE_NOT_REGULAR, FILE_NOT_FOUND, FILE_IO */
  async read(id: string): Promise<Conversation> {
    const file = await openRegular(this.path(id));
    try {
      const { size } = await file.stat();
      if (size > limits.conversationBytes)
        throw new HundredweightError("CONVERSATION_LIMIT", `${id} has ${size} bytes`);
      const found = decodeConversation(await file.readFile("utf8"));
      if (found.id !== id) throw new HundredweightError("FORMAT_INVALID", `the file of ${id} holds ${found.id}`);
      return found;
    } catch (error) {
      throw error instanceof HundredweightError ? error : ioError(error);
    } finally {
      await file.close();
    }
  }

  /** Written beside, synchronised, renamed: a crash leaves the old or the new one. @throws FILE_IO */
  async write(id: string, text: string): Promise<void> {
    const path = this.path(id);
    const beside = `${path}.${randomBytes(6).toString("hex")}`;
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      const file = await open(beside, "wx", 0o600);
      try {
        await file.writeFile(text);
        await file.sync();
      } finally {
        await file.close();
      }
      await replaceFile(beside, path);
    } catch (error) {
      await rm(beside, { force: true }).catch(() => {});
      throw ioError(error);
    }
  }

  /** @throws FILE_IO */
  async delete(id: string): Promise<void> {
    await rm(this.path(id), { force: true }).catch((error) => {
      throw ioError(error);
    });
  }

  /** Between comparing a file and replacing it no other server may replace it. @throws FILE_IO, what `work` throws */
  locked<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(() => withFileLock(`${this.#folder}.lock`, patienceMs, work));
    this.#turn = turn.catch(() => {});
    return turn.catch((error) => {
      throw error instanceof HundredweightError ? error : ioError(error);
    });
  }

  /** Ids are checked before: none can name another folder. */
  path(id: string): string {
    return join(this.#folder, `${id}${suffix}`);
  }
}

function ioError(error: unknown): HundredweightError {
  return new HundredweightError("FILE_IO", `conversations: ${(error as Error).message}`, {}, { cause: error });
}
