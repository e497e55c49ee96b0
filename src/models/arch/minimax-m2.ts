/**
 * MiniMax-M2: RMSNorm over the whole products of queries and keys, RoPE over half of each head, every layer of
 * experts with a sigmoid router and a bias for choosing. What the file calls the FFN's width is one expert's.
 * @source MiniMax 2025, "MiniMax-M2"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import { routed, routerConfig } from "../parts/router.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const minimaxM2 = defineArchitecture({
  name: "minimax-m2",
  families: "MiniMax-M2, M2.1, M2.5 230B-A10B",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    return {
      ...common,
      ...routerConfig(m, common, { score: "sigmoid" }),
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
      part: moe({
        ...c,
        ...routed(c),
        act: "silu",
        renormalize: true,
        selectionBias: "exp_probs_b.bias",
        shared: undefined,
      }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-dims", "qk-norm", "router-norm", "selection-bias"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        "rope.dimension_count": 16,
        feed_forward_length: dims,
        expert_feed_forward_length: dims,
        expert_count: 8,
        expert_used_count: 3,
        expert_gating_func: 2,
      }),
    },
  ],
});
