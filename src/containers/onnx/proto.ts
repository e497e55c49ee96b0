/**
 * Protocol buffers as they lie in a file, field by field; what nobody asks for is passed over without being read.
 * @source protobuf.dev, "Encoding"
 */
import type { Cursor } from "../../formats/cursor.js";

const limits = { textBytes: 4096 } as const;

/** A message: the fields from the cursor's position to `end`. */
export class Message {
  readonly #cursor: Cursor;
  readonly #end: number;
  /** Where the value of a field of bytes ends; the next field begins there. */
  #next: number;

  constructor(cursor: Cursor, end: number) {
    this.#cursor = cursor;
    this.#end = end;
    this.#next = cursor.position;
  }

  /** Calls `each` for every field; a value that it does not take is passed over.  @throws FORMAT_INVALID */
  fields(each: (field: number, value: Value) => void): void {
    const cursor = this.#cursor;
    while (this.#next < this.#end) {
      cursor.seek(this.#next);
      const tag = varint(cursor);
      const [field, wire] = [Math.floor(tag / 8), tag % 8];
      const number = wire === 0 ? varint(cursor) : 0;
      const bytes = wire === 2 ? varint(cursor) : wire === 1 ? 8 : wire === 5 ? 4 : 0;
      if (field === 0 || wire === 3 || wire === 4 || wire > 5)
        throw cursor.invalid(`no field of a protocol buffer at byte ${this.#next}`);
      const at = cursor.position;
      if (bytes > this.#end - at || at > this.#end)
        throw cursor.invalid(`a field of ${bytes} bytes at byte ${at} ends behind the message it is in`);
      this.#next = at + bytes;
      each(field, new Value(cursor, wire, number, at, bytes));
    }
  }
}

/** The value of one field, where it lies. */
export class Value {
  readonly #cursor: Cursor;
  readonly #wire: number;
  readonly #number: number;
  readonly at: number;
  readonly bytes: number;

  constructor(cursor: Cursor, wire: number, number: number, at: number, bytes: number) {
    this.#cursor = cursor;
    this.#wire = wire;
    this.#number = number;
    this.at = at;
    this.bytes = bytes;
  }

  /** A whole number.  @throws FORMAT_INVALID */
  whole(): number {
    if (this.#wire !== 0) throw this.#cursor.invalid(`no number at byte ${this.at}`);
    return this.#number;
  }

  /** One number, or several that are packed. */
  wholes(most: number): number[] {
    if (this.#wire === 0) return [this.#number];
    this.#cursor.seek(this.at);
    const found: number[] = [];
    while (this.#cursor.position < this.at + this.bytes) {
      if (found.length === most) throw this.#cursor.invalid(`more than ${most} numbers at byte ${this.at}`);
      found.push(varint(this.#cursor));
    }
    return found;
  }

  text(): string {
    this.#needBytes();
    if (this.bytes > limits.textBytes) throw this.#cursor.invalid(`a text of ${this.bytes} bytes at byte ${this.at}`);
    this.#cursor.seek(this.at);
    return this.#cursor.text(this.bytes, "a text");
  }

  message(): Message {
    this.#needBytes();
    this.#cursor.seek(this.at);
    return new Message(this.#cursor, this.at + this.bytes);
  }

  #needBytes(): void {
    if (this.#wire !== 2) throw this.#cursor.invalid(`a number at byte ${this.at}, where a text or message should be`);
  }
}

/** A number of at most 64 bits; negative and larger ones than 2^53 come out inexact, and fit nothing. */
function varint(cursor: Cursor): number {
  let value = 0;
  for (let shift = 0; shift < 70; shift += 7) {
    const byte = cursor.u8("a number");
    value += (byte & 127) * 2 ** shift;
    if (byte < 128) return value;
  }
  throw cursor.invalid(`a number of more than ten bytes at byte ${cursor.position}`);
}
