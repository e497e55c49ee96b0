/**
 * DeepSeek V2 and V3, and what was built on their shape: latent attention, the first layers dense, then experts in
 * groups and a shared one. V2 weighs experts by softmax, V3 by sigmoid with a bias for choosing; Mistral's queries grow
 * with the logarithm of their position. A block that guesses further tokens is a program of its own.
 * @source DeepSeek-AI 2024, "DeepSeek-V3 Technical Report"
 */

import { defineArchitecture } from "../flow/architecture.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { tinyExpanded, tinyLatent, tinyYarn } from "../parts/latent.js";
import { latentMoeConfig, latentMoeLayer } from "../parts/latent-moe.js";
import { mtpBlocks, mtpPrograms } from "../parts/mtp.js";
import { tinyExperts } from "../parts/router.js";
import { readTemperature } from "../parts/temperature.js";
import { embedTokens, tokenHead } from "../parts/transformer.js";

function config(m: MetadataReader) {
  const [layers, vocab] = [m.uint("block_count", { max: 4096 }), m.vocab()];
  // Early files of GLM-4.7-Flash do not say how experts are scored; all other files without the key are of V2.
  const flash = layers >= 47 && layers <= 48 && vocab === 154_880;
  const score = flash ? "sigmoid" : "softmax";
  const common = latentMoeConfig(m, { score, multiplier: "both" });
  return { ...common, temperature: readTemperature(m), mtp: mtpBlocks(m, common.layers) };
}

const sigmoid = { expert_gating_func: 2, expert_weights_norm: true, expert_weights_scale: 1.5 } as const;
const groups = { expert_group_count: 4, expert_group_used_count: 2 } as const;
const bias = ["exp_probs_b.bias"];

export const deepseek2 = defineArchitecture({
  name: "deepseek2",
  families: "DeepSeek V2, V2-Lite, V3, R1, Kimi K2, GLM-4.7-Flash, Mistral Large 3",
  ggufPairs: "interleaved",
  config,
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => latentMoeLayer(c, i, { temperature: c.temperature }),
  end: (f, x, c) => tokenHead(f, x, c),
  programs: mtpPrograms,
  mechanisms: [
    "rope",
    "rope-pairs",
    "rope-scaling",
    "latent-norm",
    "router-norm",
    "selection-bias",
    "groups",
    "shared-expert",
    "temperature",
  ],
  tiny: [
    {
      variant: "v3",
      metadata: (dims) => ({ ...tinyLatent(dims), ...tinyExperts(dims), ...tinyYarn, ...sigmoid, ...groups }),
      optionalTensors: bias,
      lacks: ["temperature"],
    },
    {
      variant: "v2-lite",
      metadata: (dims) => ({
        ...tinyLatent(dims),
        ...tinyExperts(dims),
        ...tinyYarn,
        "attention.q_lora_rank": 0,
        expert_shared_count: 2,
        expert_weights_norm: false,
        expert_weights_scale: 1,
      }),
      lacks: ["router-norm", "selection-bias", "groups", "temperature"],
    },
    {
      // Neither YaRN nor groups.
      variant: "glm-4.7-flash",
      metadata: (dims) => ({ ...tinyLatent(dims), ...tinyExperts(dims), ...sigmoid }),
      optionalTensors: bias,
      lacks: ["rope-scaling", "groups", "temperature"],
    },
    {
      variant: "mistral-large-3",
      metadata: (dims) => ({
        ...tinyLatent(dims),
        ...tinyExperts(dims),
        ...tinyYarn,
        "rope.scaling.yarn_log_multiplier": 0.1,
        expert_gating_func: 1,
        "attention.temperature_scale": 0.4,
        "attention.temperature_length": 16,
      }),
      lacks: ["selection-bias", "groups"],
    },
    {
      variant: "kv_b",
      metadata: (dims) => ({ ...tinyExpanded(dims), ...tinyExperts(dims), ...tinyYarn, ...sigmoid, ...groups }),
      optionalTensors: [...bias, "attn_kv_b.weight"],
      lacks: ["temperature"],
    },
  ],
});
