/** Typed, bounded access to an architecture's metadata. Faults are collected, so that all are reported at once. */
import { HundredweightError } from "../../errors.js";
import type { Checkpoint, MetadataValue } from "../../formats/types.js";

export interface UintOptions {
  readonly default?: number;
  readonly min?: number;
  readonly max?: number;
}
export interface FloatOptions {
  readonly default?: number;
  /** Exclusive. */
  readonly above?: number;
}

export class MetadataReader {
  readonly arch: string;
  readonly faults: string[] = [];
  readonly #checkpoint: Checkpoint;
  /** Numbers of the file's blocks, once somebody has asked. */
  #blocks: Set<number> | undefined;

  /** The context the user asked for; undefined where nobody did. */
  readonly askedContextTokens: number | undefined;

  constructor(checkpoint: Checkpoint, arch: string, askedContextTokens?: number) {
    this.#checkpoint = checkpoint;
    this.arch = arch;
    this.askedContextTokens = askedContextTokens;
  }

  /** Keys go by the architecture's name, except those that begin with a slash. */
  #full(key: string): string {
    return key.startsWith("/") ? key.slice(1) : `${this.arch}.${key}`;
  }

  /** Said once, however often it is met. */
  fault(message: string): void {
    if (!this.faults.includes(message)) this.faults.push(message);
  }

  /** @throws MODEL_INVALID with every fault found so far */
  check(): void {
    if (this.faults.length > 0) throw modelInvalid(this.#checkpoint.path, this.faults);
  }

  /** Whole number in [min, max] (default [1, 2^31 - 1]). A per-layer array is accepted when its values agree. */
  uint(key: string, options: UintOptions = {}): number {
    const { min = 1, max = 2 ** 31 - 1 } = options;
    const full = this.#full(key);
    const value = this.#scalar(full);
    if (value === undefined) return this.#absent(full, options.default, min);
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
      this.fault(`metadata '${full}' is ${shown(value)}, expected a whole number from ${min} to ${max}`);
      return min;
    }
    return value;
  }

  /** A finite number, above a bound when one is given. */
  float(key: string, options: FloatOptions = {}): number {
    const full = this.#full(key);
    const value = this.#scalar(full);
    const above = options.above ?? -Infinity;
    if (value === undefined) return this.#absent(full, options.default, 1);
    if (typeof value !== "number" || !Number.isFinite(value) || value <= above) {
      this.fault(
        `metadata '${full}' is ${shown(value)}, expected a number${above === -Infinity ? "" : ` above ${above}`}`,
      );
      return 1;
    }
    return value;
  }

  string(key: string, fallback: string): string {
    return this.#guard(() => this.#checkpoint.metadata.string(this.#full(key))) ?? fallback;
  }

  /** A boolean; some converters write 0 and 1. */
  flag(key: string, fallback: boolean): boolean {
    const full = this.#full(key);
    const value = this.#scalar(full);
    if (value === undefined) return fallback;
    if (typeof value === "boolean") return value;
    if (value === 0 || value === 1) return value === 1;
    this.fault(`metadata '${full}' is ${shown(value)}, expected true or false`);
    return fallback;
  }

  /** A whole number for each of `count` layers: an array of at least as many, or one number for all of them. */
  uints(key: string, count: number, options: UintOptions = {}): number[] {
    const { min = 1, max = 2 ** 31 - 1 } = options;
    const values = this.#layers(key, count);
    if (values === undefined) return new Array<number>(count).fill(this.uint(key, options));
    return values.map((value, layer) => {
      if (Number.isInteger(value) && value >= min && value <= max) return value;
      this.fault(
        `metadata '${this.#full(key)}' is ${value} in layer ${layer}, expected a whole number from ${min} to ${max}`,
      );
      return min;
    });
  }

  /** A finite number for each of `count` layers, as `uints`. */
  floats(key: string, count: number, options: FloatOptions = {}): number[] {
    const values = this.#layers(key, count);
    if (values === undefined) return new Array<number>(count).fill(this.float(key, options));
    return values.map((value, layer) => {
      if (Number.isFinite(value) && value > (options.above ?? -Infinity)) return value;
      this.fault(`metadata '${this.#full(key)}' is ${value} in layer ${layer}, expected a number`);
      return 1;
    });
  }

  /** The first `count` values of an array; undefined when the key is absent or a scalar. */
  #layers(key: string, count: number): number[] | undefined {
    const values = this.list(key);
    if (values === undefined) return undefined;
    if (values.length >= count) return values.slice(0, count);
    this.fault(`metadata '${this.#full(key)}' has ${values.length} values for ${count} layers`);
    return undefined;
  }

  has(key: string): boolean {
    return this.#checkpoint.metadata.get(this.#full(key)) !== undefined;
  }

  /** Array of numbers or booleans as numbers; undefined when the key is absent or a scalar. */
  list(key: string): number[] | undefined {
    const value = this.#checkpoint.metadata.get(this.#full(key));
    if (typeof value !== "object") return undefined;
    if (typeof value[0] === "string") {
      this.fault(`metadata '${this.#full(key)}' is ${shown(value)}, expected numbers or booleans`);
      return undefined;
    }
    return Array.from(value as ArrayLike<unknown>, Number);
  }

  /** An array of at least so many whole numbers that are not negative, of up to 64 bits; the first of them. */
  wholes(key: string, count: number): bigint[] {
    const value = this.#checkpoint.metadata.get(this.#full(key));
    const list = typeof value === "object" ? Array.from(value as ArrayLike<unknown>) : [];
    const known = list.every((v) => typeof v === "bigint" || Number.isSafeInteger(v));
    const numbers = known ? list.slice(0, count).map((v) => BigInt(v as number | bigint)) : [];
    if (numbers.length === count && numbers.every((v) => v >= 0n)) return numbers;
    this.fault(`metadata '${this.#full(key)}' is not a list of ${count} whole numbers`);
    return new Array<bigint>(count).fill(1n);
  }

  hasTensor(name: string): boolean {
    return this.#checkpoint.tensors.has(name);
  }

  /** Whether anything of this block is in the file. */
  hasBlock(block: number): boolean {
    this.#blocks ??= new Set(
      [...this.#checkpoint.tensors.keys()].map((name) => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1)),
    );
    return this.#blocks.has(block);
  }

  /** Rows of a matrix; undefined where the file has none of this name. */
  rowsOf(name: string): number | undefined {
    return this.#checkpoint.tensors.get(name)?.shape[1];
  }

  /** Array of texts; undefined when the key is absent. */
  texts(key: string): readonly string[] | undefined {
    return this.#guard(() => this.#checkpoint.metadata.strings(`${this.arch}.${key}`));
  }

  /** Kinds of tokens that the vocabulary knows, such as first and second sentence; 1 where it does not say. */
  tokenTypes(): number {
    const key = "tokenizer.ggml.token_type_count";
    const count = this.#guard(() => this.#checkpoint.metadata.number(key)) ?? 1;
    if (Number.isInteger(count) && count >= 1 && count <= 4096) return count;
    this.fault(`metadata '${key}' is ${count}, expected a whole number from 1 to 4096`);
    return 1;
  }

  /** Rows of the token embedding: what the model can be asked for. */
  vocab(): number {
    const embedding = this.#checkpoint.tensors.get("token_embd.weight");
    if (embedding?.shape.length === 2) return embedding.shape[1]!;
    this.fault("tensor 'token_embd.weight' is missing or not a matrix");
    return 1;
  }

  #absent(full: string, fallback: number | undefined, placeholder: number): number {
    if (fallback !== undefined) return fallback;
    this.fault(`metadata '${full}' is missing`);
    return placeholder;
  }

  /** As it is in the file, also when it is no number; of an array whose values agree the one they have. */
  #scalar(full: string): MetadataValue | undefined {
    const value = this.#checkpoint.metadata.get(full);
    if (typeof value !== "object") return value;
    const all = Array.from(value as ArrayLike<string | number | bigint | boolean>);
    if (all.length === 0 || typeof all[0] === "string") return value;
    const first = all[0]!;
    if (all.every((v) => v === first)) {
      const number = Number(first);
      return typeof first === "bigint" && !Number.isSafeInteger(number) ? first : number;
    }
    this.fault(`metadata '${full}' differs between layers, which '${this.arch}' does not support here`);
    return undefined;
  }

  #guard<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (error) {
      this.fault(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }
}

/** A number as it is, anything else with its type. */
function shown(value: MetadataValue): string {
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  if (typeof value === "boolean") return `the boolean ${value}`;
  if (typeof value === "string") return `the text '${value.length > 40 ? `${value.slice(0, 40)}...` : value}'`;
  return value.length === 0 ? "an empty array" : `an array of ${typeof value[0]}s`;
}

const shownFaults = 20;

export function modelInvalid(
  path: string,
  faults: readonly string[],
  code: "MODEL_INVALID" | "FORMAT_UNSUPPORTED" = "MODEL_INVALID",
): HundredweightError {
  const shown = faults.slice(0, shownFaults).join("; ");
  const rest = faults.length > shownFaults ? `; and ${faults.length - shownFaults} more` : "";
  return new HundredweightError(code, `${path}: ${shown}${rest}`, { faults: faults.slice(0, 200) });
}
