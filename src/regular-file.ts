/**
 * Opening a file that a person named, so that nobody waits for ever: a named pipe blocks whoever opens it until its
 * other end is opened, a device may never end. Every room opens such files here.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats, statSync } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { fileError, HundredweightError } from "./errors.js";

/** Without waiting for another end: between asking for a path's kind and opening it, it may become a pipe. */
const nonBlocking = constants.O_NONBLOCK ?? 0; // Windows has none, and no named pipes among files

/**
 * @throws FILE_NOT_REGULAR naming what it is, for pipes, devices and sockets; FILE_IO for a folder
 */
export function checkRegular(path: string, stats: Stats): void {
  if (stats.isFile()) return;
  if (stats.isDirectory()) throw new HundredweightError("FILE_IO", `${path}: is a folder`, { path, kind: "folder" });
  const kind = stats.isFIFO()
    ? "a named pipe"
    : stats.isSocket()
      ? "a socket"
      : stats.isCharacterDevice() || stats.isBlockDevice()
        ? "a device"
        : "no file";
  throw new HundredweightError("FILE_NOT_REGULAR", `${path}: is ${kind}; expected a regular file`, { path, kind });
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

/**
 * What a result may be written over: a regular file, or a character device as `/dev/null` is.
 * @throws FILE_NOT_REGULAR, FILE_IO
 */
export function checkOutput(path: string, stats: Stats): void {
  if (!stats.isCharacterDevice()) checkRegular(path, stats);
}

/** Opens an output and empties it. Never waits. @throws FILE_NOT_FOUND (no such folder), FILE_NOT_REGULAR, FILE_IO */
export function openOutputSync(path: string): number {
  return asFileError(path, () => {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found !== undefined) checkOutput(path, found);
    const { O_WRONLY, O_CREAT, O_TRUNC } = constants;
    return openSync(path, O_WRONLY | O_CREAT | O_TRUNC | nonBlocking, 0o666);
  });
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

/** Of a path that names a descriptor of this process, its number: it is open, nothing is waited for to open it. */
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
