/**
 * A file that holds a part of a past: pages, a state, a whole session. Integers are little-endian.
 *
 *   0            "HWPAST", then the format's version as u16
 *   8            u32 bytes of the header, u32 CRC-32 of them
 *   16           the header, JSON in UTF-8, then zeroes up to a multiple of 4096
 *   ...          units one after the other (pages as they lie in memory, slots)
 *   ...          for each MiB of units its CRC-32, then the CRC-32 of these
 *
 * A file is written under another name, made safe on the disk and then renamed: under its own name it is whole or not
 * there. Whoever reads one checks each MiB before it counts.
 */
import { closeSync, constants, openSync, readSync } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { fileError, HundredweightError } from "../errors.js";
import { replaceFile } from "../replace-file.js";

const magic = Buffer.from("HWPAST");
const version = 1;
const fixedBytes = 16;
const alignment = 4096;
/** Bytes of units that share a checksum, and that are in flight at a time. */
export const sliceBytes = 1 << 20;
/** Tokens of the longest contexts and the messages of a chat; more is no header. */
const mostHeaderBytes = 1 << 26;

/** A unit of a file: which kind of state, which block of positions, its bytes. */
export interface RecordUnit {
  readonly kind: number;
  readonly block: number;
  readonly bytes: number;
}

/** The part of units that a header says. */
export const recordUnits = (units: readonly RecordUnit[]): RecordUnit[] =>
  units.map(({ kind, block, bytes }) => ({ kind, block, bytes }));

export interface RecordHeader {
  readonly units: readonly RecordUnit[];
  readonly [key: string]: unknown;
}

/** Puts bytes of unit `index` of the header into `into`. */
export type ReadUnit = (index: number, offset: number, into: Uint8Array) => void;
/** Takes bytes of unit `index`; checked, but for those after them. */
export type WriteUnit = (index: number, offset: number, bytes: Uint8Array) => void;

const payloadOf = ({ units }: RecordHeader): number => units.reduce((sum, { bytes }) => sum + bytes, 0);
const slicesOf = (payload: number): number => Math.ceil(payload / sliceBytes);

/** Bytes of a file with this header. */
export function recordBytes(header: RecordHeader): number {
  const payload = payloadOf(header);
  return headOf(header).length + payload + 4 * slicesOf(payload) + 4;
}

function headOf(header: RecordHeader): Buffer {
  const json = Buffer.from(JSON.stringify(header));
  if (json.length > mostHeaderBytes)
    throw new HundredweightError("OPTION_INVALID", `a session's header of ${json.length} bytes is too long to be kept`);
  const head = Buffer.alloc(Math.ceil((fixedBytes + json.length) / alignment) * alignment);
  magic.copy(head);
  head.writeUInt16LE(version, 6);
  head.writeUInt32LE(json.length, 8);
  head.writeUInt32LE(crc32(json), 12);
  json.copy(head, fixedBytes);
  return head;
}

export interface RecordWriting {
  /** The name it has until it is whole; removed when something fails. */
  readonly temporary: string;
  readonly path: string;
  readonly header: RecordHeader;
  readonly read: ReadUnit;
  /** Memory of `sliceBytes` for this file; absent: some is made. */
  readonly buffer?: Buffer;
  /** Told after each slice how long it took: may wait, or end the writing by returning false. */
  readonly pace?: (elapsedMs: number) => boolean | Promise<boolean>;
}

/**
 * Writes a file that only its owner may read.  @returns whether it was written; false: `pace` ended it
 * @throws what the system says: ENOSPC, EACCES ...
 */
export async function writeRecord({
  temporary,
  path,
  header,
  read,
  pace,
  buffer: given,
}: RecordWriting): Promise<boolean> {
  // Each write waits for the disk where the system has that, so that its time says what the disk gives.
  const { O_WRONLY, O_CREAT, O_TRUNC, O_DSYNC = 0 } = constants;
  const file = await open(temporary, O_WRONLY | O_CREAT | O_TRUNC | (pace === undefined ? 0 : O_DSYNC), 0o600);
  try {
    const head = headOf(header);
    await writeAll(file, head, 0);
    const payload = payloadOf(header);
    const sums = Buffer.alloc(4 * slicesOf(payload) + 4);
    const buffer = given ?? Buffer.allocUnsafe(Math.min(sliceBytes, payload));
    let [at, unit, inUnit] = [0, 0, 0];
    for (let slice = 0; at < payload; slice++) {
      const length = Math.min(sliceBytes, payload - at);
      for (let filled = 0; filled < length; ) {
        const { bytes } = header.units[unit]!;
        const part = Math.min(bytes - inUnit, length - filled);
        read(unit, inUnit, buffer.subarray(filled, filled + part));
        filled += part;
        inUnit += part;
        if (inUnit === bytes) [unit, inUnit] = [unit + 1, 0];
      }
      const began = performance.now();
      await writeAll(file, buffer.subarray(0, length), head.length + at);
      sums.writeUInt32LE(crc32(buffer.subarray(0, length)), 4 * slice);
      at += length;
      if ((await pace?.(performance.now() - began)) === false) {
        await file.close();
        await rm(temporary, { force: true });
        return false;
      }
    }
    sums.writeUInt32LE(crc32(sums.subarray(0, -4)), sums.length - 4);
    await writeAll(file, sums, head.length + payload);
    await file.sync();
    await file.close();
    await replaceFile(temporary, path);
    return true;
  } catch (error) {
    await file.close().catch(() => {});
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, position + done);
    done += bytesWritten;
  }
}

/** A file that is open for reading; its header is checked. */
export class RecordFile {
  readonly header: RecordHeader;
  private readonly path: string;
  private readonly file: FileHandle;
  private readonly headBytes: number;
  private readonly sums: Buffer;

  private constructor(path: string, file: FileHandle, header: RecordHeader, headBytes: number, sums: Buffer) {
    this.path = path;
    this.file = file;
    this.header = header;
    this.headBytes = headBytes;
    this.sums = sums;
  }

  /** @throws FILE_NOT_FOUND, FILE_IO, FORMAT_INVALID */
  static async open(path: string): Promise<RecordFile> {
    const file = await open(path, "r").catch((error) => {
      throw fileError(path, error);
    });
    try {
      const { size } = await file.stat();
      const fixed = await readAll(path, file, 0, Math.min(size, fixedBytes));
      if (fixed.length < fixedBytes || fixed.compare(magic, 0, magic.length, 0, magic.length) !== 0)
        throw damaged(path, "is no file of a past");
      if (fixed.readUInt16LE(6) !== version)
        throw damaged(path, `has version ${fixed.readUInt16LE(6)}, ${version} is known`);
      const length = fixed.readUInt32LE(8);
      if (length > mostHeaderBytes || fixedBytes + length > size) throw damaged(path, "is cut off");
      const json = await readAll(path, file, fixedBytes, length);
      if (crc32(json) !== fixed.readUInt32LE(12)) throw damaged(path, "has a damaged header");
      const header = parsedHeader(path, json);
      const headBytes = Math.ceil((fixedBytes + length) / alignment) * alignment;
      const payload = payloadOf(header);
      const sumBytes = 4 * slicesOf(payload) + 4;
      if (size !== headBytes + payload + sumBytes) throw damaged(path, "has another length than its header says");
      const sums = await readAll(path, file, headBytes + payload, sumBytes);
      if (crc32(sums.subarray(0, -4)) !== sums.readUInt32LE(sumBytes - 4)) throw damaged(path, "has damaged checksums");
      return new RecordFile(path, file, header, headBytes, sums);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Hands out all units, slice by slice. @param buffer of `sliceBytes`  @throws FORMAT_INVALID, FILE_IO */
  async read(write: WriteUnit, buffer: Buffer): Promise<void> {
    const payload = payloadOf(this.header);
    let [unit, inUnit] = [0, 0];
    for (let at = 0, slice = 0; at < payload; slice++) {
      const bytes = await readAll(
        this.path,
        this.file,
        this.headBytes + at,
        Math.min(sliceBytes, payload - at),
        buffer,
      );
      if (crc32(bytes) !== this.sums.readUInt32LE(4 * slice)) throw damaged(this.path, `is damaged in MiB ${slice}`);
      for (let done = 0; done < bytes.length; ) {
        const part = Math.min(this.header.units[unit]!.bytes - inUnit, bytes.length - done);
        write(unit, inUnit, bytes.subarray(done, done + part));
        done += part;
        inUnit += part;
        if (inUnit === this.header.units[unit]!.bytes) [unit, inUnit] = [unit + 1, 0];
      }
      at += bytes.length;
    }
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

/** Headers of pages are shorter. */
const mostShortHeader = alignment - fixedBytes;

/** The header of a file of one page, at once; undefined where there is none. Units are not looked at. */
export function shortHeader(path: string): RecordHeader | undefined {
  let file: number | undefined;
  try {
    file = openSync(path, "r");
    const head = Buffer.alloc(alignment);
    const bytes = head.subarray(0, readSync(file, head, 0, alignment, 0));
    const length = bytes.length < fixedBytes ? 0 : bytes.readUInt32LE(8);
    if (length > mostShortHeader || magic.compare(bytes, 0, magic.length) !== 0) return undefined;
    const json = bytes.subarray(fixedBytes, fixedBytes + length);
    return crc32(json) === bytes.readUInt32LE(12) ? parsedHeader(path, json) : undefined;
  } catch {
    return undefined; // gone, or damaged
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function parsedHeader(path: string, json: Buffer): RecordHeader {
  let header: RecordHeader;
  try {
    header = JSON.parse(json.toString("utf8")) as RecordHeader;
  } catch {
    throw damaged(path, "has a header that is no JSON");
  }
  const whole = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;
  const units: unknown = header?.units;
  const sound =
    Array.isArray(units) &&
    units.every((unit) => whole(unit?.kind) && whole(unit?.block) && whole(unit?.bytes) && unit.bytes > 0) &&
    Number.isSafeInteger(payloadOf(header));
  if (!sound) throw damaged(path, "has a header that says nothing of its units");
  return header;
}

function damaged(path: string, what: string): HundredweightError {
  return new HundredweightError("FORMAT_INVALID", `${path}: ${what}`, { path });
}

async function readAll(
  path: string,
  file: FileHandle,
  position: number,
  length: number,
  into: Buffer = Buffer.allocUnsafe(length),
): Promise<Buffer> {
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(into, done, length - done, position + done).catch((error) => {
      throw fileError(path, error);
    });
    if (bytesRead === 0) throw damaged(path, "is cut off");
    done += bytesRead;
  }
  return into.subarray(0, length);
}
