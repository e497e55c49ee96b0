/**
 * The output file is the journal: a line is in it when its answer is known, and what is in it is never done again.
 * Lines come in the order in which they were finished.
 *
 * After a kill the last line may be torn; after a loss of power, whatever was not synced may be missing or zeros. So
 * what begins as a line of ours and does not end as one is cut off, synced, and done again. The cut is durable before
 * the first new line is written, else both could come back. A synced line is never cut, and nothing else is: a file
 * that holds anything that we did not write is refused as it is.
 */
import {
  closeSync,
  constants,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  realpathSync,
  rmSync,
  writeSync,
} from "node:fs";
import { dirname, resolve } from "node:path";
import { promisify } from "node:util";
import { HundredweightError } from "../errors.js";
import { isObject } from "../json-object.js";
import { nonBlocking } from "../regular-file.js";
import type { LineIndex } from "./line-index.js";
import { type Line, readLines } from "./lines.js";
import { takeLock } from "./lock.js";
import { type BatchOutput, isFailure, maxAnswerBytes } from "./output.js";
import type { Place } from "./places.js";
import { readRequest } from "./request.js";
import { writeError, writing } from "./write-error.js";

const syncData = promisify(fdatasync);

/** Answers that a loss of power may cost. */
const syncEveryMs = 1000;

export class Journal implements BatchOutput {
  /** Lines that were answered with an error before. */
  readonly failed: number;
  readonly #path: string;
  readonly #fd: number;
  readonly #lock: string;
  #syncing: Promise<void> | undefined;
  #syncedAt = performance.now();
  #fault: Error | undefined;

  private constructor(path: string, fd: number, lock: string, failed: number) {
    this.#path = path;
    this.#fd = fd;
    this.#lock = lock;
    this.failed = failed;
  }

  /**
   * Marks in `index` what is answered.
   * @throws OPTION_INVALID when the file holds something else or answers to something else, or another process writes
   *   to it; FILE_IO
   */
  static async open({ name, path = name, found }: Place, index: LineIndex): Promise<Journal> {
    // Whoever comes by another name meets the same lock.
    const real = found === undefined ? path : writing(path, () => realpathSync(path));
    const lock = takeLock(real);
    let fd: number | undefined;
    try {
      // Append: every write goes to the end, whatever was cut before.
      const flags = constants.O_RDWR | constants.O_APPEND | constants.O_CREAT | nonBlocking;
      const opened = writing(path, () => openSync(real, flags, 0o666));
      fd = opened;
      const { size, goodBytes, failed } = await readAnswers(opened, name, index);
      writing(path, () => {
        if (goodBytes < size) ftruncateSync(opened, goodBytes);
        // An editor may have taken the last line feed.
        if (!endsLine(opened, goodBytes)) writeSync(opened, "\n");
        fsyncSync(opened);
        syncFolder(real);
      });
      return new Journal(path, opened, lock, failed);
    } catch (error) {
      if (fd !== undefined) closeSync(fd);
      rmSync(lock, { force: true });
      throw error;
    }
  }

  append(line: Buffer): void {
    if (this.#fault !== undefined) throw writeError(this.#path, this.#fault);
    writing(this.#path, () => {
      for (let at = 0; at < line.length; ) at += writeSync(this.#fd, line, at);
    });
    if (performance.now() - this.#syncedAt >= syncEveryMs) this.#sync();
  }

  /** Everything is durable afterwards. */
  async close(): Promise<void> {
    await this.#syncing;
    try {
      writing(this.#path, () => fsyncSync(this.#fd));
    } finally {
      closeSync(this.#fd);
      rmSync(this.#lock, { force: true });
    }
    if (this.#fault !== undefined) throw writeError(this.#path, this.#fault);
  }

  #sync(): void {
    this.#syncedAt = performance.now();
    this.#syncing ??= syncData(this.#fd)
      .catch((error: Error) => {
        this.#fault = error;
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }
}

interface Answers {
  readonly size: number;
  /** Where lines that are whole end. */
  readonly goodBytes: number;
  readonly failed: number;
}

/** Looks at the whole file before anything of it is touched. */
async function readAnswers(fd: number, name: string, index: LineIndex): Promise<Answers> {
  const size = fstatSync(fd).size;
  let goodBytes = size;
  let failed = 0;
  let good = 0;
  let torn: Line | undefined;
  let wrong: Mismatch | undefined;
  for await (const line of readLines(fd, name, maxAnswerBytes)) {
    const answer = answerIn(line);
    if (answer === undefined || answer === "no JSON") {
      if (answer === undefined || !isTorn(line, good > 0)) throw foreign(name, line, good);
      torn ??= line;
    } else if (torn !== undefined) {
      // Zeros are what a loss of power leaves: what follows them was not synced either.
      if (!torn.bytes!.includes(0))
        throw new HundredweightError(
          "OPTION_INVALID",
          `${name}: line ${torn.number} is damaged; delete it and its answer is made again`,
        );
    } else {
      good++;
      if (answer.failed) failed++;
      const why = mismatch(answer, index);
      if (why !== undefined && !(wrong !== undefined && wrong.line <= answer.line)) wrong = { line: answer.line, why };
      if (why === undefined) index.markDone(answer.line);
    }
  }
  if (wrong !== undefined)
    throw new HundredweightError(
      "OPTION_INVALID",
      `${name} belongs to another input: ${wrong.why}; choose another name for the output`,
    );
  if (torn !== undefined) goodBytes = torn.start;
  return { size, goodBytes, failed };
}

function endsLine(fd: number, bytes: number): boolean {
  const last = Buffer.alloc(1);
  return bytes === 0 || readSync(fd, last, 0, 1, bytes - 1) !== 1 || last[0] === 10;
}

interface Answer {
  readonly line: number;
  readonly customId: string | null;
  /** Undefined: written before hashes were. */
  readonly hash: Buffer | undefined;
  readonly failed: boolean;
}

interface Mismatch {
  readonly line: number;
  readonly why: string;
}

function mismatch({ line, customId, hash }: Answer, index: LineIndex): string | undefined {
  const id = customId === null ? `line ${line}` : `'${customId.slice(0, 100)}'`;
  if (!index.has(line)) return `it answers line ${line}, ${id}, which the input does not have`;
  if (!index.hasId(line, customId)) return `line ${line} was ${id}, and has another custom_id now`;
  if (hash !== undefined && !index.hasHash(line, hash)) return `${id} (line ${line}) asked something else`;
  return index.isDone(line) ? `${id} (line ${line}) is answered twice` : undefined;
}

/** Undefined: JSON of another kind. */
function answerIn({ bytes }: Line): Answer | "no JSON" | undefined {
  let value: unknown;
  try {
    value = JSON.parse(bytes?.toString("utf8") ?? "");
  } catch {
    return "no JSON";
  }
  if (!isObject(value)) return undefined;
  const line = /^batch_req_(\d{1,15})$/.exec(String(value.id))?.[1];
  const { custom_id: customId, request_hash: hash, response, error } = value;
  if (line === undefined || (typeof customId !== "string" && customId !== null)) return undefined;
  if (!(isObject(response) || response === null) || !(isObject(error) || error === null)) return undefined;
  return {
    line: Number(line),
    customId,
    hash: typeof hash === "string" ? Buffer.from(hash, "hex") : undefined,
    failed: isFailure({ response, error } as Parameters<typeof isFailure>[0]),
  };
}

const beginning = Buffer.from('{"id":"batch_req_');
const beyondNumber = Buffer.from('","custom_id":');

/**
 * Whether a line may be what is left of one of ours.
 * @param known whether lines of ours come before it: only then are a few bytes, or zeros, evidence
 */
function isTorn({ bytes, ended }: Line, known: boolean): boolean {
  if (bytes === undefined) return false;
  if (known && (bytes[0] === 0 || (!ended && beginning.subarray(0, bytes.length).equals(bytes)))) return true;
  if (!bytes.subarray(0, beginning.length).equals(beginning)) return false;
  let at = beginning.length;
  while (at < bytes.length && bytes[at]! >= 0x30 && bytes[at]! <= 0x39) at++;
  if (at === beginning.length && at < bytes.length && bytes[at] !== 0) return false;
  // As far as it is there.
  for (const expected of beyondNumber) {
    if (at >= bytes.length || bytes[at] === 0) return true;
    if (bytes[at++] !== expected) return false;
  }
  return true;
}

function foreign(name: string, line: Line, good: number): HundredweightError {
  const first = good === 0;
  const { request } = readRequest(line);
  const what =
    first && "url" in request
      ? `${name} holds requests, not answers (are the two names swapped?)`
      : `${name} holds something else than answers of a batch (line ${line.number})`;
  return new HundredweightError("OPTION_INVALID", `${what}; it is left as it is, choose another name for the output`);
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
