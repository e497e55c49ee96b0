/** Models of Kimi delta attention in most layers and latent attention in the others, with experts. */
import type { MetadataReader } from "../flow/metadata-reader.js";
import { kdaConfig } from "./kda.js";
import { latentConfig, tinyLatent } from "./latent.js";
import { readGroups, routerConfig, tinyExperts } from "./router.js";
import { streamConfig } from "./transformer.js";

export function kdaHybridConfig(m: MetadataReader) {
  const common = streamConfig(m, { ffn: "experts" });
  const heads = m.uint("attention.head_count", { max: 4096 });
  // Layers without heads of keys and values are the recurrent ones; latent attention keeps one, files say one or all.
  const kept = m.uints("attention.head_count_kv", common.layers, { min: 0, max: 4096 });
  for (const [i, count] of kept.entries())
    if (count > 1 && count !== heads) m.fault(`${count} key/value heads of ${heads} heads in layer ${i}`);
  return {
    ...common,
    ...routerConfig(m, common, { score: "sigmoid" }),
    groups: readGroups(m, common),
    kda: kdaConfig(m, heads),
    latent: latentConfig(m, "both", heads),
    recurrent: (layer: number) => kept[layer] === 0,
  };
}

export const kdaHybridMechanisms = [
  "convolution",
  "decay",
  "strength",
  "correction",
  "gate",
  "state-norm",
  "unit-norm",
  "router-norm",
  "selection-bias",
  "shared-expert",
] as const;

export const tinyKdaHybrid = (dims: 64 | 256) => ({
  ...tinyLatent(dims),
  ...tinyExperts(dims),
  block_count: 4,
  expert_gating_func: 2,
  "attention.head_count_kv": [0, 1, 0, 1],
  "attention.q_lora_rank": 0,
  "kda.head_dim": 16,
  "ssm.conv_kernel": 4,
});
