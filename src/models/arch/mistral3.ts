/**
 * Ministral 3, Devstral 2 and Mistral Medium 3.5: Llama's shape with YaRN, and queries that grow with the logarithm
 * of their position so that far contexts stay in focus.
 * @source Mistral AI 2025, "Ministral 3"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import { readTemperature } from "../parts/temperature.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const mistral3 = defineArchitecture({
  name: "mistral3",
  families: "Ministral 3 3B-14B, Devstral 2 123B, Mistral Medium 3.5 128B",
  ggufPairs: "neighbours",
  config(m) {
    const common = transformerConfig(m);
    return {
      ...common,
      rope: readRope(m, common.headDim),
      scale: m.float("attention.scale", { default: 0 }) || 1 / Math.sqrt(common.headDim),
      temperature: readTemperature(m),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      part: gqa({ ...c, ropeDivisors: "rope_freqs", qkvBias: "optional", outputBias: "optional" }),
    },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part:
        c.experts === 0
          ? gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu", bias: "optional" })
          : moe({ ...c, hidden: c.expertHidden, act: "silu", score: "softmax", renormalize: true }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-pairs", "rope-scaling", "temperature"],
  tiny: [
    {
      variant: "dense",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        "rope.dimension_count": 32,
        "rope.freq_base": 1e6,
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 16,
        "rope.scaling.original_context_length": 16,
        "rope.scaling.yarn_log_multiplier": 1,
        "attention.temperature_scale": 0.4,
        "attention.temperature_length": 16,
      }),
    },
  ],
});
