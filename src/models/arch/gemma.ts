/**
 * Gemma 1: pre-norm attention with heads wider than the width's share, GeGLU, embeddings scaled by sqrt(dim), tied
 * head.
 * @source Gemma Team 2024, "Gemma: Open Models Based on Gemini Research"; GGUF stores norm weights with the +1
 * already added
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const gemma = defineArchitecture({
  name: "gemma",
  families: "Gemma 1 2B, 7B, CodeGemma",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c, { scale: Math.fround(Math.sqrt(c.dim)), tinySize: 1 }),
  layer: (c) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa(c) },
    { site: "ffn", before: rms("ffn_norm", c), part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "gelu-tanh" }) },
  ],
  end: (f, x, c) => tokenHead(f, x, c, { embedded: Math.sqrt(c.dim) }),
  mechanisms: ["rope", "rope-pairs", "multipliers"],
  tiny: [{ variant: "dense", tied: true, metadata: (dims) => ({ ...tinyTransformer(dims), block_count: 2 }) }],
});
