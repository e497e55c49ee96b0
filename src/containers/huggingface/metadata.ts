/** Builds the metadata a GGUF file of the same model would have. */

import { PackedStrings, type TypedValue } from "../../formats/metadata.js";
import type { MetadataArray } from "../../formats/types.js";

export class MetadataBuilder {
  readonly values = new Map<string, TypedValue>();
  readonly arch: string;

  constructor(arch: string) {
    this.arch = arch;
    this.text("/general.architecture", arch);
  }

  /** Keys go by the architecture's name, except those that begin with a slash. Undefined values are left out. */
  #set(key: string, value: TypedValue): void {
    this.values.set(key.startsWith("/") ? key.slice(1) : `${this.arch}.${key}`, value);
  }

  has(key: string): boolean {
    return this.values.has(key.startsWith("/") ? key.slice(1) : `${this.arch}.${key}`);
  }

  uint(key: string, value: number | undefined): void {
    if (value === undefined) return;
    // What is no u32 is kept as it is: whoever reads it says what is wrong.
    const fits = Number.isInteger(value) && value >= 0 && value < 2 ** 32;
    this.#set(key, { type: fits ? "u32" : "f64", value });
  }

  float(key: string, value: number | undefined): void {
    if (value !== undefined) this.#set(key, { type: "f32", value });
  }

  flag(key: string, value: boolean | undefined): void {
    if (value !== undefined) this.#set(key, { type: "bool", value });
  }

  text(key: string, value: string | undefined): void {
    if (value !== undefined) this.#set(key, { type: "string", value });
  }

  uints(key: string, values: readonly number[] | undefined): void {
    if (values !== undefined) this.#array(key, "u32", Uint32Array.from(values));
  }

  floats(key: string, values: ArrayLike<number> | undefined): void {
    if (values !== undefined) this.#array(key, "f32", Float32Array.from(values));
  }

  /** Where single precision would round. */
  doubles(key: string, values: Float64Array | undefined): void {
    if (values !== undefined) this.#array(key, "f64", values);
  }

  flags(key: string, values: readonly boolean[] | undefined): void {
    if (values !== undefined) this.#array(key, "bool", values);
  }

  ints(key: string, values: ArrayLike<number>): void {
    this.#array(key, "i32", Int32Array.from(values));
  }

  bytes(key: string, values: Uint8Array | undefined): void {
    if (values !== undefined) this.#array(key, "u8", values);
  }

  strings(key: string, values: readonly (string | Uint8Array)[] | PackedStrings | undefined): void {
    if (values === undefined) return;
    const value = values instanceof PackedStrings ? values : PackedStrings.from(values);
    this.#set(key, { type: "array", element: "string", value });
  }

  #array(key: string, element: "u32" | "i32" | "f32" | "f64" | "bool" | "u8", value: MetadataArray): void {
    this.#set(key, { type: "array", element, value });
  }
}
