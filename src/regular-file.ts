/**
 * Opening a file that a person named, so that nobody waits for ever: a named pipe blocks whoever opens it until its
 * other end is opened, a device may never end. Every room opens such files here.
 */
import {
  closeSync,
  constants,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  type Stats,
  statSync,
  writeFileSync,
} from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { fileError, HundredweightError } from "./errors.js";

/** The part of `stat`, in either form, that tells the kind of a file. */
export type FileKind = Pick<
  Stats,
  "isFile" | "isDirectory" | "isFIFO" | "isSocket" | "isCharacterDevice" | "isBlockDevice"
>;

/** Without waiting for another end: between asking for a path's kind and opening it, it may become a pipe. */
export const nonBlocking = constants.O_NONBLOCK ?? 0; // Windows has none, and no named pipes among files

/**
 * @param expected what would do instead
 * @throws FILE_NOT_REGULAR naming what it is, for pipes, devices and sockets; FILE_IO for a folder
 */
export function checkRegular(path: string, stats: FileKind, expected = "expected a regular file"): void {
  if (stats.isFile()) return;
  if (stats.isDirectory()) throw new HundredweightError("FILE_IO", `${path}: is a folder`, { path, kind: "folder" });
  const kind = stats.isFIFO()
    ? "a named pipe"
    : stats.isSocket()
      ? "a socket"
      : stats.isCharacterDevice() || stats.isBlockDevice()
        ? "a device"
        : "no file";
  throw new HundredweightError("FILE_NOT_REGULAR", `${path}: is ${kind}; ${expected}`, { path, kind });
}

/**
 * Opens a regular file for reading, or with `flags` (`constants.O_*`) for more. Never waits.
 * @throws FILE_NOT_FOUND, FILE_NOT_REGULAR, FILE_IO
 */
export function openRegularSync(path: string, flags: number = constants.O_RDONLY): number {
  return asFileError(path, () => {
    // Asked before, too: opening a device may already do something.
    const found = statSync(path, { throwIfNoEntry: false });
    if (found !== undefined) checkRegular(path, found);
    const fd = openSync(path, flags | nonBlocking, 0o666);
    try {
      checkRegular(path, fstatSync(fd));
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  });
}

/** As `openRegularSync`. @throws FILE_NOT_FOUND, FILE_NOT_REGULAR, FILE_IO */
export async function openRegular(path: string): Promise<FileHandle> {
  try {
    checkRegular(path, await stat(path));
    const file = await open(path, constants.O_RDONLY | nonBlocking);
    try {
      checkRegular(path, await file.stat());
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  } catch (error) {
    throw error instanceof HundredweightError ? error : fileError(path, error);
  }
}

/** Devices that keep nothing: what measures writing, or tests a full disk, writes there. */
const sinks = ["/dev/null", "/dev/full"];

/**
 * True for files a result may be written over: a regular file, `/dev/null` and `/dev/full`. Of other devices nobody
 * knows what writing does.
 * @throws FILE_NOT_REGULAR, FILE_IO
 */
export function checkOutput(path: string, stats: Stats): void {
  const sink = stats.isCharacterDevice() && sinks.some((name) => isDevice(name, stats.rdev));
  if (!sink) checkRegular(path, stats);
}

function isDevice(name: string, rdev: number): boolean {
  const found = statSync(name, { throwIfNoEntry: false });
  return found?.isCharacterDevice() === true && found.rdev === rdev;
}

/** As `checkOutput`, of a path that nothing may be at yet: before the work whose result goes there. @throws as it */
export function checkOutputPath(path: string): void {
  asFileError(path, () => {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found !== undefined) checkOutput(path, found);
  });
}

/** Opens an output and empties it. Never waits. @throws FILE_NOT_FOUND (no such folder), FILE_NOT_REGULAR, FILE_IO */
export function openOutputSync(path: string): number {
  checkOutputPath(path);
  return asFileError(path, () => {
    const { O_WRONLY, O_CREAT, O_TRUNC } = constants;
    return openSync(path, O_WRONLY | O_CREAT | O_TRUNC | nonBlocking, 0o666);
  });
}

/** Writes a text over what an output holds. @throws FILE_NOT_FOUND (no such folder), FILE_NOT_REGULAR, FILE_IO */
export function writeOutputSync(path: string, text: string): void {
  const fd = openOutputSync(path);
  try {
    asFileError(path, () => writeFileSync(fd, text));
  } finally {
    closeSync(fd);
  }
}

/**
 * The text of a small file of options or keys, in UTF-8. What a shell hands over as `<(command)` or `/dev/stdin` is the
 * person's own and open already: it is read to its end.
 * @throws FILE_NOT_FOUND, FILE_NOT_REGULAR, FILE_IO
 */
export function readTextSync(path: string): string {
  const own = ownDescriptor(path);
  if (own !== undefined) return asFileError(path, () => readFileSync(own, "utf8"));
  const fd = openRegularSync(path);
  try {
    return asFileError(path, () => readFileSync(fd, "utf8"));
  } finally {
    closeSync(fd);
  }
}

/** Bytes of a part. */
const partBytes = 1 << 18;

export interface TextPart {
  readonly text: string;
  /** The share of the file that has been read; undefined where its size is not known. */
  readonly share: number | undefined;
}

/**
 * The same for a text of any length, in parts that hold whole characters.
 * @throws FILE_NOT_FOUND, FILE_NOT_REGULAR, FILE_IO
 */
export function* readTextParts(path: string): Generator<TextPart, undefined> {
  const own = ownDescriptor(path);
  const fd = own ?? openRegularSync(path);
  try {
    const stats = fstatSync(fd);
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const buffer = Buffer.alloc(partBytes);
    let read = 0;
    for (;;) {
      const count = asFileError(path, () => readSync(fd, buffer));
      read += count;
      const text = decoder.decode(buffer.subarray(0, count), { stream: count > 0 });
      yield { text, share: stats.isFile() ? Math.min(1, read / Math.max(1, stats.size)) : undefined };
      if (count === 0) return undefined;
    }
  } finally {
    if (own === undefined) closeSync(fd);
  }
}

/** The number of a descriptor of this process that a path names: it is open, nothing is waited for to open it. */
export function ownDescriptor(path: string): number | undefined {
  const [, number] = /^\/(?:dev|proc\/self)\/fd\/(\d{1,9})$/.exec(path) ?? [];
  return path === "/dev/stdin" ? 0 : number === undefined ? undefined : Number(number);
}

function asFileError<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw error instanceof HundredweightError ? error : fileError(path, error);
  }
}
