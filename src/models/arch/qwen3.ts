/**
 * Qwen3, dense: RMSNorm on every query and key head before RoPE, no attention bias, head size apart from the width.
 * @source Yang et al. 2025, "Qwen3 Technical Report"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, llamaNames, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const qwen3 = defineArchitecture({
  name: "qwen3",
  families: "Qwen3 0.6B-32B",
  huggingFace: llamaNames,
  config(m) {
    const common = transformerConfig(m);
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, qkNorm: "head" }) },
    { site: "ffn", before: rms("ffn_norm", c), part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }) },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "qk-norm"],
  tiny: [
    {
      variant: "dense",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        "rope.freq_base": 1e6,
      }),
    },
  ],
});
