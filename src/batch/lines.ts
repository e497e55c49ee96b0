/**
 * Lines of a file of any size, counted in its own bytes: what an editor did to line ends, blank lines and the first
 * bytes moves nothing.
 */
import { read, readSync } from "node:fs";
import { promisify } from "node:util";
import { fileError } from "../errors.js";

const readAt = promisify(read);
const chunkBytes = 2 ** 18;
const lineFeed = 10;
const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf]);

export interface Line {
  /** From 1, blank lines counted. */
  readonly number: number;
  /** Without line feed and byte order mark. Undefined: longer than `most`. */
  readonly bytes: Buffer | undefined;
  /** Where the line begins in the file, and where the next one does. */
  readonly start: number;
  readonly end: number;
  /** Whether a line feed ends it. */
  readonly ended: boolean;
}

/**
 * Lines that are not blank, each a copy of its own.
 * @param most bytes of a line that is held in memory
 * @throws FILE_IO
 */
export async function* readLines(fd: number, name: string, most: number): AsyncGenerator<Line> {
  const chunk = Buffer.allocUnsafe(chunkBytes);
  let parts: Buffer[] = [];
  let held = 0;
  let number = 0;
  let start = 0;
  const take = (end: number, ended: boolean): Line => {
    let bytes = held > most ? undefined : parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    if (start === 0 && bytes?.subarray(0, 3).equals(byteOrderMark)) bytes = bytes.subarray(3);
    const line = { number: ++number, bytes, start, end, ended };
    parts = [];
    held = 0;
    start = end;
    return line;
  };
  const add = (from: number, to: number): void => {
    held += to - from;
    if (held > most) parts = [];
    else parts.push(Buffer.from(chunk.subarray(from, to)));
  };
  let position = 0;
  for (;;) {
    const { bytesRead } = await readAt(fd, chunk, 0, chunkBytes, position).catch((error: unknown) => {
      throw fileError(name, error);
    });
    if (bytesRead === 0) break;
    const got = chunk.subarray(0, bytesRead);
    let from = 0;
    for (let at = got.indexOf(lineFeed); at >= 0; at = got.indexOf(lineFeed, from)) {
      add(from, at);
      from = at + 1;
      const line = take(position + from, true);
      if (!isBlank(line.bytes)) yield line;
    }
    if (from < bytesRead) add(from, bytesRead);
    position += bytesRead;
  }
  if (position > start) {
    const line = take(position, false);
    if (!isBlank(line.bytes)) yield line;
  }
}

/** A line that `readLines` gave, read again. @throws FILE_IO */
export function lineAt(fd: number, name: string, number: number, start: number, length: number): Line {
  let bytes = Buffer.alloc(length);
  try {
    for (let at = 0, got = 1; at < length && got > 0; at += got) got = readSync(fd, bytes, at, length - at, start + at);
  } catch (error) {
    throw fileError(name, error);
  }
  const ended = bytes.at(-1) === lineFeed;
  if (ended) bytes = bytes.subarray(0, -1);
  if (start === 0 && bytes.subarray(0, 3).equals(byteOrderMark)) bytes = bytes.subarray(3);
  return { number, bytes, start, end: start + length, ended };
}

/** White space of JSON. */
export const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0d || byte === lineFeed;

const isBlank = (bytes: Buffer | undefined): boolean => bytes?.every(isSpace) ?? false;
