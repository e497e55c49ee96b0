/**
 * Command R and R+: LayerNorm without bias, attention and FFN side by side from one norm, tied head whose logits are
 * scaled. R+ normalizes every head of queries and keys too.
 * @source Cohere 2024, "Command R"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, layerNorm, parallel, tinyLayerNorm, tokenHead, transformerConfig } from "../parts/transformer.js";

export const commandR = defineArchitecture({
  name: "command-r",
  families: "Command R 35B, Command R+ 104B, Aya 23",
  ggufPairs: "interleaved",
  config(m) {
    const common = transformerConfig(m, { norm: "layer", ffn: "dense" });
    return {
      ...common,
      rope: readRope(m, common.headDim),
      logitScale: m.float("logit_scale", { default: 1 }) || 1,
      qkNorm: common.layers >= 64 ? ("head-centred" as const) : undefined,
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    {
      site: "layer",
      before: layerNorm("attn_norm", c, "none"),
      part: parallel(gqa(c), gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" })),
    },
  ],
  end: (f, x, c) =>
    tokenHead(f, x, c, { scale: c.logitScale, norm: (size) => layerNorm("output_norm", c, "none", size) }),
  mechanisms: ["rope", "rope-pairs", "multipliers", "qk-norm"],
  tiny: [
    {
      variant: "dense",
      tied: true,
      // llama.cpp insists on heads * headDim = dim for this one.
      metadata: (dims) => ({ ...tinyLayerNorm(dims), "attention.head_count": dims / 32, logit_scale: 0.0625 }),
      lacks: ["qk-norm"],
    },
    {
      variant: "plus",
      tied: true,
      metadata: (dims) => ({
        ...tinyLayerNorm(dims),
        "attention.head_count": dims / 32,
        block_count: 64,
        feed_forward_length: 64,
        logit_scale: 0.0625,
      }),
    },
  ],
});
