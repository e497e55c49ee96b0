/**
 * OLMoE: RMSNorm over the whole products of queries and keys; softmax router whose chosen weights keep their share of
 * all experts.
 * @source Muennighoff et al. 2024, "OLMoE: Open Mixture-of-Experts Language Models"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import { routed, routerConfig } from "../parts/router.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const olmoe = defineArchitecture({
  name: "olmoe",
  families: "OLMoE 1B-7B",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    return {
      ...common,
      ...routerConfig(m, common, { score: "softmax" }),
      expertHidden: common.hidden,
      rope: readRope(m, common.headDim),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, qkNorm: "whole" }) },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part: moe({ ...c, ...routed(c), act: "silu", score: "softmax", renormalize: false, shared: undefined }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "qk-norm"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        // llama.cpp insists on as many key heads as query heads, and heads * headDim = dim, for this one.
        "attention.head_count": dims / 32,
        "attention.head_count_kv": dims / 32,
        feed_forward_length: dims,
        expert_count: 8,
        expert_used_count: 3,
      }),
    },
  ],
});
