/**
 * GLM-4 0414: norms before and after both branches, RoPE over half of each head, gate and up in one tensor.
 * @source GLM Team 2024, "ChatGLM: A Family of Large Language Models from GLM-130B to GLM-4 All Tools"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const glm4 = defineArchitecture({
  name: "glm4",
  families: "GLM-4-0414 9B, 32B, GLM-Z1",
  ggufPairs: "interleaved",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      part: gqa({ ...c, qkvBias: "optional" }),
      after: rms("post_attention_norm", c),
    },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu", fused: "ffn_up" }),
      after: rms("post_ffw_norm", c),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-pairs", "rope-dims"],
  tiny: [
    { variant: "dense", metadata: tiny },
    {
      variant: "biased",
      metadata: tiny,
      tied: true,
      optionalTensors: ["attn_q.bias", "attn_k.bias", "attn_v.bias"],
    },
  ],
});

function tiny(dims: 64 | 256) {
  return { ...tinyTransformer(dims), "rope.dimension_count": 16 };
}
