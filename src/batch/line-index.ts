/**
 * Facts of every line of an input, in 33 bytes and a place of a hash table a line, however long the lines are:
 * whether its custom_id was there before, whether it is answered, and what it asked.
 */
import { createHash } from "node:crypto";
import { HundredweightError } from "../errors.js";

/** 0.7 GB of index. */
const maxLines = 10_000_000;

const idBytes = 8;
const hashBytes = 16;
const recordBytes = idBytes + hashBytes;

/** Bits of a line's state. */
const present = 1;
const repeated = 2;
const answered = 4;

export class LineIndex {
  /** Lines that are not blank, and those among them that are answered. */
  lines = 0;
  done = 0;
  /** Positions of the longest line, answered or not: what depends on it is the same when a batch is gone on with. */
  longestTokens = 0;
  #records = Buffer.alloc(0);
  #states = new Uint8Array(0);
  #tokens = new Float64Array(0);
  /** Line numbers by custom_id; 0 = free. Open addressing, at most half full. */
  #places = new Int32Array(1024);
  #placed = 0;

  /**
   * @param hash what the line asks, 16 bytes
   * @param tokens positions its answer may take; undefined: it cannot be answered
   * @throws OPTION_INVALID for more lines than an index may hold
   */
  add(number: number, customId: string | null, hash: Buffer, tokens: number | undefined): void {
    if (number > maxLines)
      throw new HundredweightError("OPTION_INVALID", `the input has more than ${maxLines} lines; split it`);
    this.#grow(number);
    this.lines++;
    const id = idHash(customId);
    id.copy(this.#records, number * recordBytes);
    hash.copy(this.#records, number * recordBytes + idBytes);
    this.#tokens[number] = tokens ?? Number.NaN;
    if (tokens !== undefined) this.longestTokens = Math.max(this.longestTokens, tokens);
    this.#states[number] = present;
    if (customId === null) return;
    const place = this.#placeOf(id);
    if (this.#places[place] !== 0) {
      this.#states[number] = present | repeated;
      return;
    }
    this.#places[place] = number;
    if (++this.#placed * 2 > this.#places.length) this.#rehash();
  }

  has(number: number): boolean {
    return this.#is(number, present);
  }

  isDone(number: number): boolean {
    return this.#is(number, answered);
  }

  markDone(number: number): void {
    if (!this.#is(number, answered)) this.done++;
    this.#states[number] = this.#states[number]! | answered;
  }

  /** The line that had this custom_id first, when it is another one. */
  earlierThan(number: number, customId: string | null): number | undefined {
    if (customId === null || !this.#is(number, repeated)) return undefined;
    return this.#places[this.#placeOf(idHash(customId))];
  }

  hasId(number: number, customId: string | null): boolean {
    return this.#field(number, 0, idBytes).equals(idHash(customId));
  }

  hasHash(number: number, hash: Buffer): boolean {
    return this.#field(number, idBytes, hashBytes).equals(hash);
  }

  /** The lines that are left, in ascending order. */
  tokensLeft(): Float64Array {
    return this.#tokens.filter((tokens, number) => this.#states[number] === present && !Number.isNaN(tokens)).sort();
  }

  #is(number: number, bit: number): boolean {
    return ((this.#states[number] ?? 0) & bit) !== 0;
  }

  #field(number: number, at: number, length: number): Buffer {
    const from = number * recordBytes + at;
    return this.#records.subarray(from, from + length);
  }

  #placeOf(id: Buffer): number {
    const mask = this.#places.length - 1;
    for (let place = id.readUInt32LE(0) & mask; ; place = (place + 1) & mask) {
      const number = this.#places[place]!;
      if (number === 0 || this.#field(number, 0, idBytes).equals(id)) return place;
    }
  }

  #rehash(): void {
    const numbers = this.#places.filter((number) => number !== 0);
    this.#places = new Int32Array(2 * this.#places.length);
    for (const number of numbers) this.#places[this.#placeOf(this.#field(number, 0, idBytes))] = number;
  }

  #grow(number: number): void {
    if (number < this.#states.length) return;
    const size = Math.min(maxLines + 1, Math.max(1024, 2 * this.#states.length, number + 1));
    const records = Buffer.alloc(size * recordBytes);
    this.#records.copy(records);
    this.#records = records;
    this.#states = copied(this.#states, new Uint8Array(size));
    this.#tokens = copied(this.#tokens, new Float64Array(size));
  }
}

function copied<T extends Uint8Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** The quote tells "null" from no id. */
const idHash = (customId: string | null): Buffer =>
  createHash("sha256").update(JSON.stringify(customId)).digest().subarray(0, idBytes);
