/** Ids of short pieces seen before. Direct-mapped and of fixed size (1.1 MiB): hostile text cannot grow it. */
import type { IdList } from "./id-list.js";
import { hashBytes } from "./piece-table.js";

const entries = 1 << 14;
const maxBytes = 24;
const maxIds = 8;

export class WordCache {
  readonly #keys = new Uint8Array(entries * maxBytes);
  /** Bytes of the key; 0 is an empty entry. */
  readonly #lengths = new Uint8Array(entries);
  readonly #ids = new Int32Array(entries * maxIds);
  readonly #counts = new Uint8Array(entries);

  /** Appends the ids of `bytes[from, to)` when known. */
  lookup(bytes: Uint8Array, from: number, to: number, out: IdList): boolean {
    const length = to - from;
    if (length > maxBytes || length === 0) return false;
    const entry = hashBytes(bytes, from, to) & (entries - 1);
    if (this.#lengths[entry] !== length) return false;
    const key = entry * maxBytes;
    for (let i = 0; i < length; i++) if (this.#keys[key + i] !== bytes[from + i]) return false;
    for (let i = 0; i < this.#counts[entry]!; i++) out.push(this.#ids[entry * maxIds + i]!);
    return true;
  }

  /** Remembers the ids that were appended to `out` since `first`. */
  store(bytes: Uint8Array, from: number, to: number, out: IdList, first: number): void {
    const length = to - from;
    const count = out.length - first;
    if (length > maxBytes || length === 0 || count > maxIds) return;
    const entry = hashBytes(bytes, from, to) & (entries - 1);
    this.#lengths[entry] = length;
    this.#counts[entry] = count;
    for (let i = 0; i < length; i++) this.#keys[entry * maxBytes + i] = bytes[from + i]!;
    for (let i = 0; i < count; i++) this.#ids[entry * maxIds + i] = out.at(first + i);
  }
}
