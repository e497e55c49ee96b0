/** Metadata values as bytes. */
import type { HundredweightError } from "../errors.js";
import { type ElementType, elementBytes, PackedStrings, type TypedValue, valueTypes } from "./metadata.js";

/** A growing little-endian buffer. */
export class ByteSink {
  #buffer = new Uint8Array(4096);
  #view = new DataView(this.#buffer.buffer);
  #used = 0;

  get length(): number {
    return this.#used;
  }

  /** The bytes so far, not copied. */
  take(): Uint8Array {
    return this.#buffer.subarray(0, this.#used);
  }

  /** Makes room for `count` bytes and returns where they go; they hold zeros. */
  #reserve(count: number): number {
    const at = this.#used;
    this.#used += count;
    if (this.#used > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(2 * this.#buffer.length, this.#used));
      grown.set(this.#buffer.subarray(0, at));
      this.#buffer = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
  }

  zeros(count: number): void {
    this.#reserve(count);
  }
  bytes(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#buffer.set(bytes, at);
  }
  u32(value: number): void {
    const at = this.#reserve(4);
    this.#view.setUint32(at, value, true);
  }
  u64(value: number | bigint): void {
    const at = this.#reserve(8);
    this.#view.setBigUint64(at, BigInt(value), true);
  }
  /** Length and bytes. */
  string(text: string | Uint8Array): void {
    const bytes = typeof text === "string" ? Buffer.from(text, "utf8") : text;
    this.u64(bytes.length);
    this.bytes(bytes);
  }

  /** One number, boolean or bigint of a type that fits it. */
  scalar(type: Exclude<ElementType, "string">, value: number | bigint | boolean): void {
    const number = Number(value);
    // Reserved first: growing replaces the view.
    const at = this.#reserve(elementBytes[type]!);
    switch (type) {
      case "u8":
      case "i8":
      case "bool":
        this.#buffer[at] = number;
        return;
      case "u16":
      case "i16":
        this.#view.setUint16(at, number, true);
        return;
      case "u32":
      case "i32":
        this.#view.setUint32(at, number, true);
        return;
      case "f32":
        this.#view.setFloat32(at, number, true);
        return;
      case "f64":
        this.#view.setFloat64(at, number, true);
        return;
      case "u64":
      case "i64":
        this.#view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)), true);
        return;
    }
  }
}

const ranges: Readonly<Partial<Record<ElementType, readonly [bigint, bigint]>>> = {
  u8: [0n, 255n],
  i8: [-128n, 127n],
  u16: [0n, 65535n],
  i16: [-32768n, 32767n],
  u32: [0n, 2n ** 32n - 1n],
  i32: [-(2n ** 31n), 2n ** 31n - 1n],
  u64: [0n, 2n ** 64n - 1n],
  i64: [-(2n ** 63n), 2n ** 63n - 1n],
};

/** Type id and value. `invalid` makes the error for a value its type cannot hold. */
export function encodeValue(sink: ByteSink, typed: TypedValue, invalid: (message: string) => HundredweightError): void {
  sink.u32(valueTypes.indexOf(typed.type));
  if (typed.type !== "array") {
    encodeElement(sink, typed.type, typed.value, invalid);
    return;
  }
  sink.u32(valueTypes.indexOf(typed.element));
  sink.u64(typed.value.length);
  if (typed.value instanceof PackedStrings) {
    for (let i = 0; i < typed.value.length; i++) sink.string(typed.value.at(i));
    return;
  }
  for (const element of typed.value) encodeElement(sink, typed.element, element, invalid);
}

function encodeElement(
  sink: ByteSink,
  type: ElementType,
  value: string | number | bigint | boolean,
  invalid: (message: string) => HundredweightError,
): void {
  if (type === "string") {
    if (typeof value !== "string") throw invalid(`${value} is not a string`);
    sink.string(value);
    return;
  }
  if (typeof value === "string" || (type === "bool") !== (typeof value === "boolean")) {
    throw invalid(`'${value}' is not of type ${type}`);
  }
  const range = ranges[type];
  if (range !== undefined) {
    if (typeof value === "number" && !Number.isInteger(value)) throw invalid(`${value} is not an integer`);
    if (BigInt(value) < range[0] || BigInt(value) > range[1]) throw invalid(`${value} does not fit ${type}`);
  }
  sink.scalar(type, value);
}
