/**
 * Phi-3, 3.5-mini and Phi-4: fused projections, RoPE whose pairs have divisors of their own for contexts up to the
 * first length they were trained for and for longer ones. The context decides once for all rows, never a budget.
 * @source Abdin et al. 2024, "Phi-3 Technical Report"; Ding et al. 2024, "LongRoPE"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { longRopeDivisors, readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const phi3 = defineArchitecture({
  name: "phi3",
  families: "Phi-3 mini, medium, Phi-3.5-mini, Phi-4, Phi-4-mini",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim, { long: true }), ropeDivisors: longRopeDivisors(m) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      part: gqa({ ...c, qkvBias: "optional", outputBias: "optional" }),
    },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu", fused: "ffn_up" }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c, { bias: "optional" }),
  mechanisms: ["rope", "rope-pairs", "rope-scaling"],
  tiny: [
    { variant: "dense", metadata: tiny, optionalTensors: ["attn_qkv.weight"], lacks: ["rope-scaling"] },
    {
      variant: "long",
      tied: true,
      metadata: (dims) => ({
        ...tiny(dims),
        "rope.scaling.original_context_length": 128,
        "rope.scaling.attn_factor": 1.19,
      }),
      optionalTensors: ["attn_qkv.weight", "rope_factors_long.weight"],
    },
    {
      variant: "short",
      metadata: (dims) => ({ ...tiny(dims), "rope.dimension_count": 24, "rope.scaling.attn_factor": 1.19 }),
      optionalTensors: ["attn_qkv.weight", "rope_factors_short.weight"],
    },
  ],
});

/** llama.cpp insists on heads * headDim = dim for this one. */
function tiny(dims: 64 | 256) {
  return { ...tinyTransformer(dims), "attention.head_count": dims / 32 };
}
