/** Metadata with the exact type of each value, so that a file can be written back as it was read. */
import { HundredweightError } from "../errors.js";
import type { Metadata, MetadataArray, MetadataValue } from "./types.js";

/** GGUF's element types; the index is the id in the file (9, array, is apart). */
export const valueTypes = [
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "f32",
  "bool",
  "string",
  "array",
  "u64",
  "i64",
  "f64",
] as const;
export type ValueType = (typeof valueTypes)[number];
export type ElementType = Exclude<ValueType, "array">;

/** Bytes of one element in the file; undefined for strings and arrays. */
export const elementBytes: Readonly<Partial<Record<ValueType, number>>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  bool: 1,
  u64: 8,
  i64: 8,
  f64: 8,
};

export type TypedValue =
  | { readonly type: "u8" | "i8" | "u16" | "i16" | "u32" | "i32" | "f32" | "f64"; readonly value: number }
  | { readonly type: "u64" | "i64"; readonly value: number | bigint }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "array"; readonly element: ElementType; readonly value: MetadataArray | PackedStrings };

/** Many strings as one buffer and their boundaries: a vocabulary costs its bytes plus four a string. */
export class PackedStrings {
  readonly bytes: Uint8Array;
  /** length + 1 boundaries in `bytes`. */
  readonly offsets: Uint32Array;
  #decoded: WeakRef<readonly string[]> | undefined;

  constructor(bytes: Uint8Array, offsets: Uint32Array) {
    this.bytes = bytes;
    this.offsets = offsets;
  }

  static from(strings: readonly (string | Uint8Array)[]): PackedStrings {
    const parts = strings.map((s) => (typeof s === "string" ? Buffer.from(s, "utf8") : s));
    const offsets = new Uint32Array(parts.length + 1);
    for (let i = 0; i < parts.length; i++) offsets[i + 1] = offsets[i]! + parts[i]!.length;
    const bytes = new Uint8Array(offsets[parts.length]!);
    for (let i = 0; i < parts.length; i++) bytes.set(parts[i]!, offsets[i]!);
    return new PackedStrings(bytes, offsets);
  }

  get length(): number {
    return this.offsets.length - 1;
  }

  /** The bytes of string `i`, not copied. */
  at(i: number): Uint8Array {
    return this.bytes.subarray(this.offsets[i]!, this.offsets[i + 1]!);
  }

  raw(): Uint8Array[] {
    return Array.from({ length: this.length }, (_, i) => this.at(i));
  }

  /** Decoded at the first call; held weakly, so the collector may drop it and a later call decodes again. */
  decode(): readonly string[] {
    const known = this.#decoded?.deref();
    if (known !== undefined) return known;
    const buffer = Buffer.from(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
    const decoded = Array.from({ length: this.length }, (_, i) =>
      buffer.toString("utf8", this.offsets[i]!, this.offsets[i + 1]!),
    );
    this.#decoded = new WeakRef(decoded);
    return decoded;
  }
}

/** Metadata of a file, in file order. Typed access names the key and both types when they differ. */
export class TypedMetadata implements Metadata {
  readonly #values: ReadonlyMap<string, TypedValue>;
  readonly #where: string;

  /** `where` begins the error messages: the file. */
  constructor(values: ReadonlyMap<string, TypedValue>, where = "metadata") {
    this.#values = values;
    this.#where = where;
  }

  get size(): number {
    return this.#values.size;
  }

  keys(): IterableIterator<string> {
    return this.#values.keys();
  }

  /** The value with its type in the file. */
  typed(key: string): TypedValue | undefined {
    return this.#values.get(key);
  }

  entries(): IterableIterator<[string, TypedValue]> {
    return this.#values.entries();
  }

  get(key: string): MetadataValue | undefined {
    const value = this.#values.get(key)?.value;
    return value instanceof PackedStrings ? value.decode() : value;
  }

  string(key: string): string | undefined {
    const found = this.#values.get(key);
    if (found === undefined) return undefined;
    if (found.type !== "string") throw this.#wrong(key, "a string");
    return found.value;
  }

  number(key: string): number | undefined {
    const found = this.#values.get(key);
    if (found === undefined) return undefined;
    if (typeof found.value !== "number" || !Number.isFinite(found.value)) throw this.#wrong(key, "a finite number");
    return found.value;
  }

  boolean(key: string): boolean | undefined {
    const found = this.#values.get(key);
    if (found === undefined) return undefined;
    if (found.type !== "bool") throw this.#wrong(key, "a boolean");
    return found.value;
  }

  strings(key: string): readonly string[] | undefined {
    const found = this.#strings(key);
    return found instanceof PackedStrings ? found.decode() : found;
  }

  rawStrings(key: string): readonly Uint8Array[] | undefined {
    const found = this.#strings(key);
    return found instanceof PackedStrings ? found.raw() : found?.map((s) => Buffer.from(s, "utf8"));
  }

  packedStrings(key: string): PackedStrings | undefined {
    const found = this.#strings(key);
    return found === undefined || found instanceof PackedStrings ? found : PackedStrings.from(found);
  }

  numbers(key: string): ArrayLike<number> | undefined {
    const found = this.#values.get(key);
    if (found === undefined) return undefined;
    if (found.type !== "array" || !ArrayBuffer.isView(found.value)) throw this.#wrong(key, "an array of numbers");
    if (!(found.value instanceof BigInt64Array || found.value instanceof BigUint64Array)) return found.value;
    const numbers = Float64Array.from(found.value, Number);
    if (!numbers.every(Number.isSafeInteger)) throw this.#wrong(key, "an array of integers below 2^53");
    return numbers;
  }

  #strings(key: string): readonly string[] | PackedStrings | undefined {
    const found = this.#values.get(key);
    if (found === undefined) return undefined;
    if (found.type !== "array" || found.element !== "string") throw this.#wrong(key, "an array of strings");
    return found.value as readonly string[] | PackedStrings;
  }

  #wrong(key: string, expected: string): HundredweightError {
    const found = this.#values.get(key)!;
    const type =
      found.type === "array"
        ? `an array of ${found.element}`
        : `${found.type}${typeof found.value === "string" ? "" : ` ${found.value}`}`;
    return new HundredweightError(
      "MODEL_INVALID",
      `${this.#where}: metadata '${key}' should be ${expected} but is ${type}`,
      { key },
    );
  }
}
