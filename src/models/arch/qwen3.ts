/**
 * Qwen3, dense: RMSNorm on every query and key head before RoPE, no attention bias, head size apart from the width.
 * @source Yang et al. 2025, "Qwen3 Technical Report"
 */
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { readRope } from "../parts/rope.js";
import { tinyTransformer, transformerConfig } from "../parts/transformer.js";
import { defineArchitecture } from "../spec.js";

export const qwen3 = defineArchitecture({
  name: "qwen3",
  families: "Qwen3 0.6B-32B",
  config(m) {
    const common = transformerConfig(m);
    return { ...common, rope: readRope(m, common.headDim, false) };
  },
  layer: (c) => ({
    mixer: { norm: "attn_norm", part: gqa({ ...c, qkNorm: true }) },
    ffn: { norm: "ffn_norm", part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }) },
  }),
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
