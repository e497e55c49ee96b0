/** `--kv`: how the KV cache is stored. */
import { HundredweightError } from "../../errors.js";
import { type KvCacheType, kvCacheType, kvForm } from "../../ops/kv-form.js";
import { parseBytes } from "./options.js";

/** The type in the one way in which it is written.  @throws OPTION_INVALID */
export function parseKv(text: string, option = "--kv"): KvCacheType {
  try {
    return kvCacheType(kvForm(text));
  } catch (error) {
    throw new HundredweightError("OPTION_INVALID", `${option}: ${(error as Error).message}`);
  }
}

export const kvMemoryOption = [
  "--kv-memory <size>",
  "memory for the KV cache; what finds no room lies on the disk (default: all of it is in memory)",
  (text: string): number => parseBytes(text, "--kv-memory"),
] as const;

export const kvOption = [
  "--kv <type>",
  "type of the KV cache, keys:values apart (q8_0:q4_0), +h behind for a Hadamard rotation: f16, q8_0, q4_0",
  (text: string): KvCacheType => parseKv(text),
] as const;
