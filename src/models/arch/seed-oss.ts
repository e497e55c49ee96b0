/**
 * Seed-OSS: Llama's shape with biases on queries, keys and values. Its pre-FFN norm is named post_attention_norm.
 * @source ByteDance Seed Team 2025, "Seed-OSS"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const seedOss = defineArchitecture({
  name: "seed_oss",
  families: "Seed-OSS 36B",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, qkvBias: "optional" }) },
    { site: "ffn", before: rms("post_attention_norm", c), part: gatedFfn({ ...c, act: "silu" }) },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-pairs", "bias"],
  tiny: [
    {
      variant: "dense",
      metadata: tinyTransformer,
      optionalTensors: ["attn_q.bias", "attn_k.bias", "attn_v.bias"],
    },
  ],
});
