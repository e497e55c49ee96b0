/**
 * Qwen3-MoE (30B-A3B, 235B-A22B): Qwen3's attention; softmax router over all experts, the chosen weights renormalised.
 * @source Yang et al. 2025, "Qwen3 Technical Report"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const qwen3moe = defineArchitecture({
  name: "qwen3moe",
  families: "Qwen3-30B-A3B, Qwen3-235B-A22B, Qwen3-Coder",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    return {
      ...common,
      rope: readRope(m, common.headDim),
      weightScale: m.float("expert_weights_scale", { default: 1 }) || 1,
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, qkNorm: "head" }) },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part: moe({ ...c, hidden: c.expertHidden, act: "silu", score: "softmax", renormalize: true }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "qk-norm", "router-norm"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        expert_feed_forward_length: dims,
        expert_count: 8,
        expert_used_count: 3,
        "rope.freq_base": 1e6,
      }),
    },
  ],
});
