/**
 * Hunyuan, dense: Llama's shape, but queries and keys are normalized after RoPE, whose base may be stretched by a
 * factor.
 * @source Tencent 2025, "Hunyuan 0.5B-7B"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const hunyuanDense = defineArchitecture({
  name: "hunyuan-dense",
  families: "Hunyuan 0.5B, 1.8B, 4B, 7B, Hunyuan-MT",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    const rope = readRope(m, common.headDim);
    const alpha = m.float("rope.scaling.alpha", { default: 0 });
    const stretch = alpha > 0 ? alpha ** (common.headDim / Math.max(1, common.headDim - 2)) : 1;
    return { ...common, rope: { ...rope, base: rope.base * stretch } };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      part: gqa({ ...c, qkvBias: "optional", qkNorm: "rotated", ropeDivisors: "rope_freqs" }),
    },
    { site: "ffn", before: rms("ffn_norm", c), part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }) },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-pairs", "qk-norm"],
  tiny: [
    { variant: "dense", tied: true, metadata: (dims) => ({ ...tinyTransformer(dims), "rope.scaling.alpha": 50 }) },
  ],
});
