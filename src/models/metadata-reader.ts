/** Typed, bounded access to an architecture's metadata. Faults are collected, so that all are reported at once. */
import { HundredweightError } from "../errors.js";
import type { Checkpoint } from "../formats/types.js";

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

  constructor(checkpoint: Checkpoint, arch: string) {
    this.#checkpoint = checkpoint;
    this.arch = arch;
  }

  fault(message: string): void {
    this.faults.push(message);
  }

  /** @throws MODEL_INVALID with every fault found so far */
  check(): void {
    if (this.faults.length > 0) throw modelInvalid(this.#checkpoint.path, this.faults);
  }

  /** Whole number in [min, max] (default [1, 2^31 - 1]). A per-layer array is accepted when its values agree. */
  uint(key: string, options: UintOptions = {}): number {
    const { min = 1, max = 2 ** 31 - 1 } = options;
    const full = `${this.arch}.${key}`;
    const value = this.#scalar(full);
    if (value === undefined) return this.#absent(full, options.default, min);
    if (!Number.isInteger(value) || value < min || value > max) {
      this.fault(`metadata '${full}' is ${value}, expected a whole number from ${min} to ${max}`);
      return min;
    }
    return value;
  }

  /** A finite number, above a bound when one is given. */
  float(key: string, options: FloatOptions = {}): number {
    const full = `${this.arch}.${key}`;
    const value = this.#scalar(full);
    const above = options.above ?? -Infinity;
    if (value === undefined) return this.#absent(full, options.default, 1);
    if (!Number.isFinite(value) || value <= above) {
      this.fault(`metadata '${full}' is ${value}, expected a number${above === -Infinity ? "" : ` above ${above}`}`);
      return 1;
    }
    return value;
  }

  string(key: string, fallback: string): string {
    return this.#guard(() => this.#checkpoint.metadata.string(`${this.arch}.${key}`)) ?? fallback;
  }

  has(key: string): boolean {
    return this.#checkpoint.metadata.get(`${this.arch}.${key}`) !== undefined;
  }

  /** Array of numbers or booleans as numbers; undefined when the key is absent or a scalar. */
  list(key: string): number[] | undefined {
    const value = this.#checkpoint.metadata.get(`${this.arch}.${key}`);
    if (typeof value !== "object" || value === null) return undefined;
    return Array.from(value as ArrayLike<unknown>, Number);
  }

  hasTensor(name: string): boolean {
    return this.#checkpoint.tensors.has(name);
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

  #scalar(full: string): number | undefined {
    const value = this.#checkpoint.metadata.get(full);
    if (value === undefined) return undefined;
    if (typeof value === "number") return value;
    if (typeof value === "object") {
      const all = Array.from(value as ArrayLike<unknown>, Number);
      if (all.length > 0 && all.every((v) => v === all[0])) return all[0]!;
      this.fault(`metadata '${full}' differs between layers, which '${this.arch}' does not support here`);
      return undefined;
    }
    return Number.NaN;
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
