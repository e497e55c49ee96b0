/** A bounds-checked little-endian reader over `pread` windows: a model of any size is read through one small buffer. */
import { closeSync, fstatSync, readSync } from "node:fs";
import { HundredweightError } from "../errors.js";
import { openRegularSync } from "../regular-file.js";

/** Every limit of the readers. Beyond them a file is refused as hostile: real files stay far below. */
export const limits = {
  /** Bytes that one read fetches. */
  windowBytes: 1 << 20,
  /** llama.cpp refuses names of 64 bytes and more, the terminator included. */
  tensorNameBytes: 63,
  keyBytes: 65535,
  /** The longest strings in use are chat templates of some tens of KiB. */
  stringBytes: 64 * 2 ** 20,
  arrayElements: 2 ** 28,
  /**
   * Bytes that all metadata of one file may occupy once read; a vocabulary of 262k tokens with merges is about 20 MiB.
   */
  metadataBytes: 128 * 2 ** 20,
  metadataKeys: 65536,
  /** Over all files of a split model. */
  tensors: 131072,
  dims: 4,
  alignment: 2 ** 30,
  /** `%05d` in the file name, u16 in the metadata. */
  splitFiles: 65535,
} as const;

export class Cursor {
  readonly path: string;
  readonly fileBytes: number;
  readonly #fd: number;
  readonly #window: Uint8Array;
  readonly #data: DataView;
  #windowStart = 0;
  #windowEnd = 0;
  #position = 0;

  /**
   * @throws FILE_NOT_FOUND, FILE_IO, FORMAT_UNSUPPORTED (a folder), FILE_NOT_REGULAR
   */
  constructor(path: string, windowBytes: number = limits.windowBytes) {
    this.path = path;
    this.#fd = openModelFile(path);
    this.fileBytes = fstatSync(this.#fd).size;
    this.#window = new Uint8Array(Math.min(Math.max(windowBytes, 16), Math.max(this.fileBytes, 1)));
    this.#data = new DataView(this.#window.buffer);
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Absolute offset of the next byte. */
  get position(): number {
    return this.#position;
  }

  get remaining(): number {
    return this.fileBytes - this.#position;
  }

  /** Absolute; inside the file. */
  seek(position: number): void {
    this.#position = position;
  }

  /** Puts `count` bytes (at most a window) into the window and returns where they start in it. */
  #take(count: number, what: string): number {
    if (count > this.remaining) this.#truncated(count, what);
    if (this.#position + count > this.#windowEnd || this.#position < this.#windowStart) this.#refill();
    const at = this.#position - this.#windowStart;
    this.#position += count;
    return at;
  }

  #refill(): void {
    const count = Math.min(this.#window.length, this.remaining);
    this.#windowStart = this.#position;
    this.#windowEnd = this.#position;
    this.#readInto(this.#window.subarray(0, count), this.#position);
    this.#windowEnd = this.#position + count;
  }

  #readInto(target: Uint8Array, position: number): void {
    let done = 0;
    while (done < target.length) {
      let got: number;
      try {
        got = readSync(this.#fd, target, done, target.length - done, position + done);
      } catch (cause) {
        throw new HundredweightError("FILE_IO", `${this.path}: reading failed: ${reason(cause)}`, {}, { cause });
      }
      if (got === 0) {
        throw new HundredweightError("MODEL_CHANGED", `${this.path}: the file became shorter while it was being read`);
      }
      done += got;
    }
  }

  #truncated(count: number, what: string): never {
    throw new HundredweightError(
      "FORMAT_INVALID",
      `${this.path}: ${what} at byte ${this.#position} needs ${count} bytes but the file has ${this.remaining} left; ` +
        "it is truncated or damaged, download it again",
      { position: this.#position, needed: count, remaining: this.remaining },
    );
  }

  invalid(message: string, details: Record<string, unknown> = {}): HundredweightError {
    return new HundredweightError("FORMAT_INVALID", `${this.path}: ${message}`, details);
  }

  unsupported(message: string, details: Record<string, unknown> = {}): HundredweightError {
    return new HundredweightError("FORMAT_UNSUPPORTED", `${this.path}: ${message}`, details);
  }

  u8(what: string): number {
    return this.#data.getUint8(this.#take(1, what));
  }
  i8(what: string): number {
    return this.#data.getInt8(this.#take(1, what));
  }
  u16(what: string): number {
    return this.#data.getUint16(this.#take(2, what), true);
  }
  i16(what: string): number {
    return this.#data.getInt16(this.#take(2, what), true);
  }
  u32(what: string): number {
    return this.#data.getUint32(this.#take(4, what), true);
  }
  i32(what: string): number {
    return this.#data.getInt32(this.#take(4, what), true);
  }
  f32(what: string): number {
    return this.#data.getFloat32(this.#take(4, what), true);
  }
  f64(what: string): number {
    return this.#data.getFloat64(this.#take(8, what), true);
  }
  u64(what: string): bigint {
    return this.#data.getBigUint64(this.#take(8, what), true);
  }
  i64(what: string): bigint {
    return this.#data.getBigInt64(this.#take(8, what), true);
  }

  /**
   * A length or count field of 8 bytes (or 4) that may not exceed `max`.
   * @throws FORMAT_INVALID beyond `max`: the value itself is never trusted further
   */
  length(wide: boolean, max: number, what: string): number {
    const at = this.#take(wide ? 8 : 4, what);
    const low = this.#data.getUint32(at, true);
    const value = wide ? this.#data.getUint32(at + 4, true) * 2 ** 32 + low : low;
    if (value > max) {
      const exact = wide ? this.#data.getBigUint64(at, true) : value;
      throw this.invalid(`${what} at byte ${this.#position - (wide ? 8 : 4)} is ${exact}, more than the limit ${max}`);
    }
    return value;
  }

  /** `count` bytes, copied. Allocates only when the file holds them. */
  bytes(count: number, what: string): Uint8Array {
    if (count > this.remaining) this.#truncated(count, what);
    const copy = new Uint8Array(count);
    if (count <= this.#window.length) {
      const at = this.#take(count, what);
      copy.set(this.#window.subarray(at, at + count));
    } else {
      this.#readInto(copy, this.#position);
      this.#position += count;
    }
    return copy;
  }

  /** UTF-8 text of `count` bytes; invalid sequences become U+FFFD, a byte order mark stays. */
  text(count: number, what: string): string {
    const bytes = this.bytes(count, what);
    return Buffer.from(bytes.buffer, 0, count).toString("utf8");
  }

  /** @throws FORMAT_INVALID when `count` items of at least `itemBytes` cannot be in what is left of the file */
  expect(count: number, itemBytes: number, what: string): void {
    if (count * itemBytes > this.remaining) this.#truncated(count * itemBytes, what);
  }

  /**
   * `count` length-prefixed strings, packed without their prefixes: string i is bytes[offsets[i], offsets[i+1]).
   * Written for vocabularies (a quarter of a million strings), hence the loop over the window itself.
   * `maxBytes` bounds what the result may occupy.
   */
  packedStrings(
    count: number,
    wide: boolean,
    maxBytes: number,
    what: string,
  ): { bytes: Uint8Array; offsets: Uint32Array } {
    const prefix = wide ? 8 : 4;
    this.expect(count, prefix, what);
    const offsetBytes = 4 * (count + 1);
    if (offsetBytes > maxBytes) throw this.invalid(`${what} has ${count} strings, more than metadata may hold`);
    const offsets = new Uint32Array(count + 1);
    let packed = new Uint8Array(Math.min(8 * count + 64, this.remaining, maxBytes));
    let used = 0;
    for (let i = 0; i < count; i++) {
      // Nearly all lie whole in the window.
      if (this.#position >= this.#windowStart && this.#position < this.#windowEnd) {
        const window = this.#window.subarray(this.#position - this.#windowStart, this.#windowEnd - this.#windowStart);
        const room = Math.min(packed.length, maxBytes - offsetBytes);
        const taken = packStrings(window, prefix, packed.subarray(0, room), offsets, i, count);
        this.#position += offsets[taken]! - used + prefix * (taken - i);
        used = offsets[taken]!;
        i = taken;
        if (i === count) break;
      }
      const length = this.length(wide, limits.stringBytes, what);
      if (length > this.remaining) this.#truncated(length, what);
      if (offsetBytes + used + length > maxBytes) throw this.invalid(`${what} is larger than metadata may be`);
      if (used + length > packed.length) {
        const grown = new Uint8Array(Math.min(Math.max(2 * packed.length, used + length), used + this.remaining));
        grown.set(packed.subarray(0, used));
        packed = grown;
      }
      if (length > this.#window.length) {
        this.#readInto(packed.subarray(used, used + length), this.#position);
        this.#position += length;
      } else {
        const start = this.#take(length, what);
        packed.set(this.#window.subarray(start, start + length), used);
      }
      used += length;
      offsets[i + 1] = used;
    }
    return { bytes: packed.length > used + (used >> 2) ? packed.slice(0, used) : packed.subarray(0, used), offsets };
  }
}

/**
 * Packs the strings that lie whole in `window`, up to one that is longer than 64 KiB or for which there is no room. A
 * function of its own, small and of plain numbers, is soon compiled, and a start waits for it.
 * @param offsets text `first` begins at `offsets[first]`; gets where each text ends
 * @returns the number of the first string that was not packed
 */
function packStrings(
  window: Uint8Array,
  prefix: number,
  packed: Uint8Array,
  offsets: Uint32Array,
  first: number,
  count: number,
): number {
  const end = window.length;
  const room = packed.length;
  let used = offsets[first]!;
  let at = 0;
  let i = first;
  while (i < count && at + prefix <= end) {
    let high = 0;
    for (let k = 2; k < prefix; k++) high |= window[at + k]!;
    const from = at + prefix;
    const to = from + (window[at]! | (window[at + 1]! << 8));
    if (high !== 0 || to > end || used + to - from > room) break;
    for (let k = from; k < to; k++) packed[used++] = window[k]!;
    offsets[++i] = used;
    at = to;
  }
  return i;
}

/** Opens a model file for reading: a folder gets a line of its own. */
function openModelFile(path: string): number {
  try {
    return openRegularSync(path);
  } catch (error) {
    if ((error as HundredweightError).details.kind !== "folder") throw error;
    throw new HundredweightError(
      "FORMAT_UNSUPPORTED",
      `${path}: a folder; only GGUF files are read: name the .gguf file in it, or convert the checkpoint to GGUF first`,
    );
  }
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
