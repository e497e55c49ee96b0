/**
 * The output file is the journal: a line is in it when its answer is known, and what is in it is never done again. Lines
 * come in the order in which they were finished.
 *
 * After a kill the last line may be torn; after a loss of power, whatever was not synced may be missing or zeros. So a
 * file that is resumed is good as far as its lines are good: the rest is cut off, synced, and done again. The cut is
 * durable before the first new line is written, else both could come back. A synced line is never cut.
 */
import {
  closeSync,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { promisify } from "node:util";
import { HundredweightError } from "../../errors.js";
import { isObject, readLines } from "./lines.js";

const syncData = promisify(fdatasync);

/** Answers that a loss of power may cost. */
const syncEveryMs = 1000;

export interface OutputLine {
  readonly id: string;
  readonly custom_id: string | null;
  readonly response: { readonly status_code: number; readonly request_id: string; readonly body: unknown } | null;
  readonly error: { readonly code: string; readonly message: string } | null;
}

export const idOf = (line: number): string => `batch_req_${line}`;

export class Journal {
  /** Lines of the input that are done: number -> custom_id. */
  readonly done: ReadonlyMap<number, string | null>;
  private readonly fd: number;
  private readonly lock: string;
  private syncing: Promise<void> | undefined;
  private syncedAt = performance.now();
  private fault: Error | undefined;

  private constructor(fd: number, lock: string, done: ReadonlyMap<number, string | null>) {
    this.fd = fd;
    this.lock = lock;
    this.done = done;
  }

  /** @throws OPTION_INVALID when the file holds something else or another process writes to it; FILE_IO */
  static async open(path: string): Promise<Journal> {
    const lock = takeLock(path);
    try {
      // Read and append: every write goes to the end, whatever was cut before.
      const fd = io(() => openSync(path, "a+"));
      const size = io(() => fstatSync(fd).size);
      const { done, goodBytes } = await readDone(path, size);
      io(() => {
        if (goodBytes < size) ftruncateSync(fd, goodBytes);
        fsyncSync(fd);
        syncFolder(path);
      });
      return new Journal(fd, lock, done);
    } catch (error) {
      rmSync(lock, { force: true });
      throw error;
    }
  }

  /** @throws FILE_IO */
  append(line: OutputLine): void {
    if (this.fault !== undefined) throw ioError(this.fault);
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    io(() => {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.fd, bytes, at);
    });
    if (performance.now() - this.syncedAt >= syncEveryMs) this.sync();
  }

  /** Everything is durable afterwards. @throws FILE_IO */
  async close(): Promise<void> {
    await this.syncing;
    io(() => fsyncSync(this.fd));
    closeSync(this.fd);
    rmSync(this.lock, { force: true });
    if (this.fault !== undefined) throw ioError(this.fault);
  }

  private sync(): void {
    this.syncedAt = performance.now();
    this.syncing ??= syncData(this.fd)
      .catch((error: Error) => {
        this.fault = error;
      })
      .finally(() => {
        this.syncing = undefined;
      });
  }
}

/** Lines that are whole and ours, and where they end. */
async function readDone(path: string, size: number): Promise<{ done: Map<number, string | null>; goodBytes: number }> {
  const done = new Map<number, string | null>();
  let goodBytes = 0;
  for await (const { number, text } of readLines(path)) {
    const found = text === undefined ? undefined : outputLine(text);
    const end = goodBytes + Buffer.byteLength(text ?? "") + 1;
    // Without its line feed a line is torn even if it reads well: the next one would be glued to it.
    if (found === undefined || end > size || done.has(found.line)) {
      if (number === 1 && size > Buffer.byteLength(text ?? "") && text !== undefined && !/^\0/.test(text))
        throw new HundredweightError("OPTION_INVALID", `${path} holds something else than answers of a batch`);
      break;
    }
    done.set(found.line, found.customId);
    goodBytes = end;
  }
  return { done, goodBytes };
}

function outputLine(text: string): { line: number; customId: string | null } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isObject(value)) return undefined;
  const line = /^batch_req_(\d{1,15})$/.exec(String(value.id))?.[1];
  const customId = value.custom_id;
  if (line === undefined || (typeof customId !== "string" && customId !== null)) return undefined;
  return { line: Number(line), customId };
}

/** One process per output: two would double lines. A lock whose process is gone was left by a kill. */
function takeLock(path: string): string {
  const lock = `${path}.lock`;
  for (let attempt = 0; ; attempt++) {
    try {
      mkdirSync(dirname(lock), { recursive: true });
      const fd = openSync(lock, "wx");
      writeSync(fd, String(process.pid));
      closeSync(fd);
      return lock;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST" || attempt === 3) throw ioError(error as Error);
    }
    const owner = Number(readFileSync(lock, "utf8"));
    if (owner > 0 && owner !== process.pid && isAlive(owner))
      throw new HundredweightError("OPTION_INVALID", `process ${owner} writes to ${path} (if not, delete ${lock})`);
    rmSync(lock, { force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** The name of a new file is durable with its folder only; not every system lets folders be synced. */
function syncFolder(path: string): void {
  let fd: number | undefined;
  try {
    fd = openSync(dirname(resolve(path)), "r");
    fsyncSync(fd);
  } catch {
    // Windows: the file's own sync has to do.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

function io<T>(act: () => T): T {
  try {
    return act();
  } catch (error) {
    throw ioError(error as Error);
  }
}

function ioError(error: Error): HundredweightError {
  return error instanceof HundredweightError ? error : new HundredweightError("FILE_IO", error.message);
}
