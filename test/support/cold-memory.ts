/** A KV cache of which only as many pages are in memory as a pass writes; for tests. */
import { HundredweightError } from "../../src/errors.js";
import { estimateMemory, type ModelDescription, type ModelOptions } from "../../src/models/index.js";

/** Undefined: the model needs all of its pages in memory. */
export function leastKvMemory(
  description: ModelDescription,
  options: Omit<ModelOptions, "kvMemory">,
  folder: string,
): ModelOptions["kvMemory"] {
  const kvMemory = { bytes: "least", folder } as const;
  try {
    estimateMemory(description, { ...options, kvMemory }, 1);
    return kvMemory;
  } catch (error) {
    if (error instanceof HundredweightError && /chooses the positions/.test(error.message)) return undefined;
    throw error;
  }
}
