/**
 * ERNIE 4.5 with experts: the first layers dense, then every so many a layer of experts with a softmax router, a bias
 * for choosing and shared experts.
 * @source Baidu 2025, "ERNIE 4.5 Technical Report"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import { routed, routerConfig } from "../parts/router.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const ernie45Moe = defineArchitecture({
  name: "ernie4_5-moe",
  families: "ERNIE 4.5 21B-A3B, 300B-A47B",
  ggufPairs: "interleaved",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    return {
      ...common,
      ...routerConfig(m, common, { score: "softmax" }),
      step: m.uint("interleave_moe_layer_step", { max: 4096 }),
      rope: readRope(m, common.headDim),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, qkvBias: "optional" }) },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part:
        i < c.leadingDense || (i + 1) % c.step !== 0
          ? gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" })
          : moe({
              ...c,
              ...routed(c),
              act: "silu",
              score: "softmax",
              renormalize: true,
              selectionBias: "exp_probs_b.bias",
              selectionBiasOptional: true,
            }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-pairs", "router-norm", "selection-bias", "shared-expert"],
  tiny: [
    {
      variant: "moe",
      tied: true,
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        leading_dense_block_count: 1,
        interleave_moe_layer_step: 1,
        expert_feed_forward_length: dims,
        expert_shared_count: 2,
        expert_shared_feed_forward_length: 2 * dims,
        expert_count: 8,
        expert_used_count: 3,
      }),
      optionalTensors: ["exp_probs_b.bias"],
    },
  ],
});
