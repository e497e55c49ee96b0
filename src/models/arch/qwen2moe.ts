/**
 * Qwen1.5-MoE and Qwen2-57B-A14B: Qwen2's attention; softmax router whose chosen weights keep their share of all
 * experts, and an expert that every row takes as much of as a gate says.
 * @source Yang et al. 2024, "Qwen2 Technical Report"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import { routed, routerConfig } from "../parts/router.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const qwen2moe = defineArchitecture({
  name: "qwen2moe",
  families: "Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    const router = routerConfig(m, common, { score: "softmax" });
    return {
      ...common,
      ...router,
      rope: readRope(m, common.headDim),
      // Files without the keys have experts that together are as wide as the FFN.
      expertHidden: m.has("expert_feed_forward_length")
        ? common.expertHidden
        : Math.max(1, Math.floor(common.hidden / common.topK)),
      sharedHidden: router.sharedHidden || common.hidden,
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, qkvBias: "optional" }) },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part: moe({
        ...c,
        ...routed(c),
        act: "silu",
        score: "softmax",
        renormalize: false,
        shared: { hidden: c.sharedHidden, gated: true },
      }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "bias", "shared-expert", "gate"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        // llama.cpp insists on heads * headDim = dim for this one.
        "attention.head_count": dims / 32,
        expert_feed_forward_length: dims,
        expert_shared_feed_forward_length: dims,
        expert_count: 8,
        expert_used_count: 3,
      }),
      optionalTensors: ["attn_q.bias", "attn_k.bias", "attn_v.bias"],
    },
  ],
});
