/**
 * Hunyuan-A13B: queries and keys are normalized after RoPE; softmax router, the chosen weights renormalized, and a
 * shared expert beside them.
 * @source Tencent 2025, "Hunyuan-A13B Technical Report"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import { routed, routerConfig } from "../parts/router.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const hunyuanMoe = defineArchitecture({
  name: "hunyuan-moe",
  families: "Hunyuan-A13B 80B",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    const router = routerConfig(m, common, { score: "softmax" });
    return {
      ...common,
      ...router,
      // Experts are as wide as the FFN, whatever the expert's own key says; so is a shared one without a key.
      expertHidden: common.hidden,
      sharedHidden: router.sharedHidden || common.hidden,
      rope: readRope(m, common.headDim),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      part: gqa({ ...c, qkvBias: "optional", qkNorm: "rotated", ropeDivisors: "rope_freqs" }),
    },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part: moe({ ...c, ...routed(c), act: "silu", score: "softmax", renormalize: true }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-pairs", "qk-norm", "router-norm", "shared-expert"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        feed_forward_length: dims,
        expert_feed_forward_length: dims,
        expert_shared_feed_forward_length: 2 * dims,
        expert_count: 8,
        expert_used_count: 3,
      }),
    },
  ],
});
