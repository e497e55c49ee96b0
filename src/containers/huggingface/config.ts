/**
 * config.json as what a family's table asks of it. Keys differ in name between families and years; a model of several
 * parts has the text model's under `text_config`.
 */
import { HundredweightError } from "../../errors.js";
import { isObject, type JsonObject, type JsonValue } from "../../formats/json-reader.js";

export class HfConfig {
  readonly path: string;
  readonly json: JsonObject;
  readonly #text: JsonObject;

  /** @param path begins the error messages */
  constructor(path: string, json: JsonObject) {
    this.path = path;
    this.json = json;
    const text = json.text_config ?? json.llm_config ?? json.language_config;
    this.#text = isObject(text) ? { ...json, ...text } : json;
  }

  /** The value of the first of these keys that is there and not null. */
  get(...keys: readonly string[]): JsonValue | undefined {
    for (const key of keys) {
      const value = this.#text[key];
      if (value !== undefined && value !== null) return value;
    }
    return undefined;
  }

  /** @throws MODEL_INVALID when it is there and no finite number */
  number(...keys: readonly string[]): number | undefined {
    const value = this.get(...keys);
    if (value === undefined || typeof value === "boolean") return undefined;
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw this.#wrong(keys, value, "a number");
  }

  /** @throws MODEL_INVALID when it is missing, or no whole number */
  whole(...keys: readonly string[]): number {
    const value = this.number(...keys);
    if (value !== undefined && Number.isSafeInteger(value) && value >= 0) return value;
    throw this.#wrong(keys, value, "a whole number");
  }

  flag(key: string): boolean | undefined {
    const value = this.get(key);
    return typeof value === "boolean" ? value : undefined;
  }

  text(...keys: readonly string[]): string | undefined {
    const value = this.get(...keys);
    return typeof value === "string" ? value : undefined;
  }

  object(key: string): JsonObject | undefined {
    const value = this.get(key);
    return isObject(value) ? value : undefined;
  }

  /** An array of numbers; undefined for anything else. */
  numbers(key: string): number[] | undefined {
    const value = this.get(key);
    return Array.isArray(value) && value.every((v) => typeof v === "number") ? value : undefined;
  }

  texts(key: string): string[] | undefined {
    const value = this.get(key);
    return Array.isArray(value) && value.every((v) => typeof v === "string") ? value : undefined;
  }

  invalid(message: string): HundredweightError {
    return new HundredweightError("MODEL_INVALID", `${this.path}: ${message}`);
  }

  #wrong(keys: readonly string[], value: JsonValue | undefined, expected: string): HundredweightError {
    const shown = value === undefined ? "missing" : JSON.stringify(value)?.slice(0, 60);
    return this.invalid(`'${keys[0]}' is ${shown}, expected ${expected}`);
  }
}
