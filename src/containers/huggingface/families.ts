/**
 * Which GGUF architecture a `model_type` of config.json is, and what it has of its own: keys, names, and what its
 * configuration means.
 */
import type { HfConfig } from "./config.js";
import type { MetadataBuilder } from "./metadata.js";
import type { NameTable } from "./names.js";

export interface Family {
  /** `general.architecture`. */
  readonly arch: string;
  /** Names that differ from those of most families. */
  readonly names?: NameTable;
  /** Keys beside the common ones. */
  readonly keys?: (c: HfConfig, m: MetadataBuilder) => void;
}

/** By `model_type`. */
export const families: Readonly<Record<string, Family>> = {
  llama: { arch: "llama" },
  mistral: { arch: "llama" },
  mixtral: { arch: "llama" },
  qwen2: { arch: "qwen2" },
  qwen3: { arch: "qwen3" },
  qwen3_moe: { arch: "qwen3moe" },
};
