/** Whether two descriptions say the same model: the same calls on the same tensors, whatever each container is. */
import type { ModelDescription } from "../models/index.js";

/**
 * The first call that differs, in words; undefined where none does. The order in which RoPE pairs values is the
 * container's, and numbers are compared in single precision, as a GGUF file holds them.
 */
export function firstDifference(a: ModelDescription, b: ModelDescription): string | undefined {
  const keys = ["layers", "dim", "vocab", "contextTokens"] as const;
  for (const key of keys)
    if (a.config[key] !== b.config[key]) return `${key} is ${a.config[key]}, and would be ${b.config[key]}`;
  if (a.tied !== b.tied) return a.tied ? "the head is the embedding" : "the head is a matrix of its own";
  const [left, right] = [linesOf(a), linesOf(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i++)
    if (left[i] !== right[i]) return `${cut(left[i])} would be ${cut(right[i])}`;
  return undefined;
}

const cut = (line: string | undefined): string => (line === undefined ? "missing" : line.slice(0, 240));

/** A line for each call. Objects that calls share are numbered as they are met. */
function linesOf({ program, programs }: ModelDescription): string[] {
  const numbers = new Map<object, number>();
  const plain = (key: string, value: unknown): unknown => {
    if (typeof value === "number") return Number.isInteger(value) ? value : Math.fround(value);
    if (key === "interleaved" || typeof value !== "object" || value === null) return key === "interleaved" ? 0 : value;
    if (key === "tensor") return (value as { readonly name: string }).name;
    if (Array.isArray(value) || !("id" in value)) return value;
    const known = numbers.get(value);
    if (known !== undefined) return `#${known}`;
    numbers.set(value, numbers.size);
    return { ...value, id: numbers.size - 1 };
  };
  const all = [program, ...[...programs.values()].map((other) => other.program)];
  return all.flatMap(({ calls }) => calls.map((call) => JSON.stringify(call, plain)));
}
