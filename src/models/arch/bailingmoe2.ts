/**
 * Ling 2 and Ring 2: fused projections, every head of queries and keys normalized, RoPE over a part of each; the
 * first layers dense, then experts in groups with a bias for choosing and a shared expert. A block that guesses
 * further tokens is a program of its own.
 * @source Ling Team 2025, "Every Activation Boosted: Scaling General Reasoner to 1 Trillion Open Language Foundation"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { leadingDenseFfn } from "../parts/leading-dense.js";
import { mtpBlocks, mtpPrograms } from "../parts/mtp.js";
import { readGroups, routerConfig, tinyExperts } from "../parts/router.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const bailingmoe2 = defineArchitecture({
  name: "bailingmoe2",
  families: "Ling/Ring 2.0 mini 16B, flash 100B-A6B, 1T",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    const router = routerConfig(m, common, { score: "sigmoid" });
    // The key is the width of one shared expert.
    const each = m.uint("expert_shared_feed_forward_length", { max: 2 ** 22, default: common.expertHidden });
    return {
      ...common,
      ...router,
      sharedHidden: each * m.uint("expert_shared_count", { min: 1, max: 256 }),
      groups: readGroups(m, common),
      rope: readRope(m, common.headDim),
      mtp: mtpBlocks(m, common.layers),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, qkNorm: "head" }) },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part: leadingDenseFfn(c, i),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  programs: mtpPrograms,
  mechanisms: ["rope", "rope-dims", "qk-norm", "groups", "router-norm", "selection-bias", "shared-expert"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        ...tinyExperts(dims),
        // llama.cpp insists on heads * headDim = dim for this one.
        "attention.head_count": dims / 32,
        "rope.dimension_count": 16,
        expert_gating_func: 2,
        expert_group_count: 4,
        expert_group_used_count: 2,
      }),
      optionalTensors: ["attn_qkv.weight", "exp_probs_b.bias"],
    },
  ],
});
