/**
 * MiniCPM 1 and 2: Llama's shape with factors for embeddings, branches and logits, which older files leave to the
 * loader.
 * @source Hu et al. 2024, "MiniCPM: Unveiling the Potential of Small Language Models"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const minicpm = defineArchitecture({
  name: "minicpm",
  families: "MiniCPM 1B, 2B, MiniCPM-MoE, MiniCPM4",
  ggufPairs: "neighbours",
  config(m) {
    const common = transformerConfig(m);
    return {
      ...common,
      rope: readRope(m, common.headDim),
      embeddingScale: m.float("embedding_scale", { default: 12 }) || 1,
      branchScale: m.float("residual_scale", { default: 1.4 / Math.sqrt(common.layers) }) || 1,
      logitDivisor: m.float("logit_scale", { default: common.dim / 256, above: 0 }),
    };
  },
  begin: (f, c) => embedTokens(f, c, { scale: c.embeddingScale, damping: c.branchScale, tinySize: 1 }),
  layer: (c) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      part: gqa({ ...c, ropeDivisors: "rope_freqs", qkvBias: "optional", outputBias: "optional" }),
    },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part:
        c.experts === 0
          ? gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu", bias: "optional" })
          : moe({ ...c, hidden: c.hidden, act: "silu", score: "softmax", renormalize: true }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c, { scale: 1 / c.logitDivisor, embedded: c.embeddingScale }),
  mechanisms: ["rope", "rope-pairs", "multipliers"],
  tiny: [
    {
      variant: "dense",
      tied: true,
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        "rope.dimension_count": 32,
        embedding_scale: 6,
        residual_scale: 0.6,
        logit_scale: 4,
      }),
    },
  ],
});
