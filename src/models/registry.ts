/** Every supported architecture. Adding one is a file in arch/ and a line here. */
import { HundredweightError } from "../errors.js";
import { bert } from "./arch/bert.js";
import { eurobert } from "./arch/eurobert.js";
import { gemmaEmbedding } from "./arch/gemma-embedding.js";
import { gemma3 } from "./arch/gemma3.js";
import { gptOss } from "./arch/gpt-oss.js";
import { jinaBertV2, jinaBertV3 } from "./arch/jina-bert.js";
import { llama } from "./arch/llama.js";
import { modernBert } from "./arch/modern-bert.js";
import { neoBert } from "./arch/neo-bert.js";
import { nomicBert, nomicBertMoe } from "./arch/nomic-bert.js";
import { qwen2 } from "./arch/qwen2.js";
import { qwen3 } from "./arch/qwen3.js";
import { qwen3moe } from "./arch/qwen3moe.js";
import type { Declaration } from "./flow/architecture.js";

/** They make text. */
export const decoders: readonly Declaration[] = [llama, qwen2, qwen3, qwen3moe, gemma3, gptOss];

/** They make vectors or scores. */
export const encoders: readonly Declaration[] = [
  bert,
  nomicBert,
  nomicBertMoe,
  jinaBertV2,
  jinaBertV3,
  modernBert,
  neoBert,
  eurobert,
  gemmaEmbedding,
];

export const architectures: readonly Declaration[] = [...decoders, ...encoders];

/** @throws ARCHITECTURE_UNKNOWN */
export function findArchitecture(name: string): Declaration {
  const found = architectures.find((a) => a.name === name);
  if (found !== undefined) return found;
  const known = architectures.map((a) => a.name).join(", ");
  throw new HundredweightError(
    "ARCHITECTURE_UNKNOWN",
    `architecture '${name.slice(0, 100)}' is not supported; supported are ${known}`,
    { name },
  );
}
