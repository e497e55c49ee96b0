/**
 * Texts and their numbers in typed arrays: 150,000 tokens as a Map<string, number> cost about 15 MB of V8 heap, here
 * their bytes plus 12 bytes each.
 */

/** Hash of a run of bytes. FNV-1a: one multiplication a byte, good enough for open addressing. */
export function hashBytes(bytes: Uint8Array, from: number, to: number): number {
  let h = 0x811c9dc5;
  for (let i = from; i < to; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193);
  return (h ^ (h >>> 15)) >>> 0;
}

export class PieceTable {
  #bytes: Uint8Array;
  #offsets: Uint32Array;
  #count = 0;
  /** Open addressing, linear probing: number + 1, 0 is free. At most half full. */
  #slots: Int32Array;
  #used = 0;
  /** Bytes of the longest text that can be found. */
  longest = 0;
  /** Every text can be found and no two are equal: what has a number's bytes has that number. */
  #distinct = true;

  constructor(expectedCount: number, expectedBytes: number) {
    this.#bytes = new Uint8Array(Math.max(expectedBytes, 64));
    this.#offsets = new Uint32Array(expectedCount + 2);
    this.#slots = new Int32Array(slotCount(expectedCount));
  }

  /**
   * A table of texts that are there: it takes them over. Text `i` is `bytes[offsets[i], offsets[i + 1])`.
   * @param hidden numbers of texts that cannot be looked up
   */
  static of(bytes: Uint8Array, offsets: Uint32Array, hidden: ReadonlySet<number>): PieceTable {
    const table = new PieceTable(offsets.length - 1, 0);
    table.#bytes = bytes;
    table.#offsets = offsets;
    table.#count = offsets.length - 1;
    table.#used = table.#count - hidden.size;
    table.#insertAll(hidden);
    return table;
  }

  get count(): number {
    return this.#count;
  }

  /** Storage of all texts; replaced when it grows. */
  get bytes(): Uint8Array {
    return this.#bytes;
  }

  start(id: number): number {
    return this.#offsets[id]!;
  }

  end(id: number): number {
    return this.#offsets[id + 1]!;
  }

  /** The bytes of a text, not copied. */
  at(id: number): Uint8Array {
    return this.#bytes.subarray(this.#offsets[id]!, this.#offsets[id + 1]!);
  }

  /**
   * Appends the text `text[textFrom, textTo)` under the next number. `findable` false: it has a number but cannot be
   * looked up.
   */
  append(text: Uint8Array, textFrom: number, textTo: number, findable = true): number {
    const id = this.#count++;
    const from = this.#offsets[id]!;
    const to = from + textTo - textFrom;
    if (to > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(to, this.#bytes.length * 2));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    if (id + 1 >= this.#offsets.length) {
      const grown = new Uint32Array(this.#offsets.length * 2);
      grown.set(this.#offsets);
      this.#offsets = grown;
    }
    for (let i = 0; i < to - from; i++) this.#bytes[from + i] = text[textFrom + i]!;
    this.#offsets[id + 1] = to;
    if (!findable) this.#distinct = false;
    else {
      this.longest = Math.max(this.longest, to - from);
      if (2 * ++this.#used > this.#slots.length) this.#grow();
      this.#insert(id);
    }
    return id;
  }

  /** Number of the text `bytes[from, to)`, or -1. */
  find(bytes: Uint8Array, from: number, to: number): number {
    const length = to - from;
    if (length > this.longest) return -1;
    const slots = this.#slots;
    const mask = slots.length - 1;
    for (let s = hashBytes(bytes, from, to) & mask; ; s = (s + 1) & mask) {
      const id = slots[s]! - 1;
      if (id < 0) return -1;
      const start = this.#offsets[id]!;
      if (this.#offsets[id + 1]! - start !== length) continue;
      let i = 0;
      while (i < length && this.#bytes[start + i] === bytes[from + i]) i++;
      if (i === length) return id;
    }
  }

  /** @param guess a number that may be the text's: looked at before the search */
  findOrAppend(text: Uint8Array, from: number, to: number, guess = -1): number {
    if (guess >= 0 && guess < this.#count && this.#distinct && this.#is(guess, text, from, to)) return guess;
    const found = this.find(text, from, to);
    return found >= 0 ? found : this.append(text, from, to);
  }

  /** Gives back what was reserved but not needed. */
  trim(): void {
    this.#bytes = this.#bytes.slice(0, this.#offsets[this.#count]!);
    this.#offsets = this.#offsets.slice(0, this.#count + 1);
  }

  /** Bytes held outside the V8 heap. */
  get memoryBytes(): number {
    return this.#bytes.byteLength + this.#offsets.byteLength + this.#slots.byteLength;
  }

  /** Equal texts: the later number wins, as in llama.cpp's maps. */
  #insert(id: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    const [from, to] = [this.#offsets[id]!, this.#offsets[id + 1]!];
    for (let s = hashBytes(this.#bytes, from, to) & mask; ; s = (s + 1) & mask) {
      const other = slots[s]! - 1;
      const twin = other >= 0 && this.#is(other, this.#bytes, from, to);
      if (other < 0 || twin) {
        if (twin) this.#distinct = false;
        slots[s] = id + 1;
        return;
      }
    }
  }

  /** `#insert` of all texts in one loop over plain numbers: a start waits for it. */
  #insertAll(hidden: ReadonlySet<number>): void {
    const bytes = this.#bytes;
    const offsets = this.#offsets;
    const slots = this.#slots;
    const mask = slots.length - 1;
    const count = this.#count;
    const all = hidden.size === 0;
    let distinct = all;
    let longest = 0;
    for (let id = 0; id < count; id++) {
      if (!all && hidden.has(id)) continue;
      const from = offsets[id]!;
      const length = offsets[id + 1]! - from;
      if (length > longest) longest = length;
      let h = 0x811c9dc5;
      for (let i = 0; i < length; i++) h = Math.imul(h ^ bytes[from + i]!, 0x01000193);
      for (let s = (h ^ (h >>> 15)) & mask; ; s = (s + 1) & mask) {
        const other = slots[s]! - 1;
        if (other >= 0) {
          const start = offsets[other]!;
          if (offsets[other + 1]! - start !== length) continue;
          let i = 0;
          while (i < length && bytes[start + i] === bytes[from + i]) i++;
          if (i < length) continue;
          distinct = false;
        }
        slots[s] = id + 1;
        break;
      }
    }
    this.longest = longest;
    this.#distinct = distinct;
  }

  #is(id: number, bytes: Uint8Array, from: number, to: number): boolean {
    const start = this.#offsets[id]!;
    if (this.#offsets[id + 1]! - start !== to - from) return false;
    for (let i = from; i < to; i++) if (this.#bytes[start + i - from] !== bytes[i]) return false;
    return true;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2);
    for (const value of old) if (value !== 0) this.#insert(value - 1);
  }
}

function slotCount(count: number): number {
  let size = 64;
  while (size < 2 * (count + 1)) size *= 2;
  return size;
}
