/** Parsing of option values shared by the commands. Wrong values are OPTION_INVALID (exit code 2). */
import { HundredweightError } from "../../errors.js";

const units: Record<string, number> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KIB: 2 ** 10,
  MIB: 2 ** 20,
  GIB: 2 ** 30,
  TIB: 2 ** 40,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
};

/**
 * `512MiB`, `10GiB`, `10GB`, `4096B` -> bytes. A number alone is refused: nobody who writes `--memory 10` means 10
 * bytes.
 */
export function parseBytes(text: string, option: string): number {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const word = (match?.[2] ?? "").toUpperCase();
  if (match !== null && word === "") {
    const number = match[1]!;
    throw new HundredweightError(
      "OPTION_INVALID",
      `${option}: '${text}' has no unit; write ${number}GiB, ${number}GB, ${number}MiB or ${number}B (bytes)`,
    );
  }
  const unit = match === null ? undefined : units[word];
  if (!match || unit === undefined) {
    throw new HundredweightError("OPTION_INVALID", `${option}: '${text}' is not a size; write 512MiB, 10GiB or 10GB`);
  }
  return Math.floor(Number(match[1]) * unit);
}

export function parseInteger(text: string, option: string, min: number, max: number = Number.MAX_SAFE_INTEGER): number {
  const value = Number(text);
  if (!/^-?\d+$/.test(text.trim()) || !Number.isSafeInteger(value) || value < min || value > max) {
    const range = max === Number.MAX_SAFE_INTEGER ? `at least ${min}` : `from ${min} to ${max}`;
    throw new HundredweightError("OPTION_INVALID", `${option}: '${text}' is not a whole number ${range}`);
  }
  return value;
}

export function parseNumber(text: string, option: string, min: number, max: number): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value) || value < min || value > max) {
    throw new HundredweightError("OPTION_INVALID", `${option}: '${text}' is not a number from ${min} to ${max}`);
  }
  return value;
}

export function parseChoice<T extends string>(text: string, option: string, choices: readonly T[]): T {
  const found = choices.find((c) => c === text);
  if (found === undefined) {
    throw new HundredweightError("OPTION_INVALID", `${option}: '${text}' is not one of ${choices.join(", ")}`);
  }
  return found;
}

/** `1,2,3`, `1 2 3` or `[1, 2, 3]` -> token ids. */
export function parseIds(text: string, option: string): Int32Array {
  const list = /^\s*\[(.*)\]\s*$/s.exec(text)?.[1] ?? text;
  const parts = list.split(/[\s,]+/).filter((p) => p !== "");
  return Int32Array.from(parts, (p) => parseInteger(p, option, 0, 2 ** 31 - 1));
}
