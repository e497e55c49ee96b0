/**
 * StableLM and StableLM 2: LayerNorm, gated FFN, RoPE over a quarter of each head. The 12B model normalizes every
 * head of queries and keys, and has no norm before its FFN, which reads what attention reads.
 * @source Bellagente et al. 2024, "Stable LM 2 1.6B Technical Report"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, layerNorm, parallel, tinyLayerNorm, tokenHead, transformerConfig } from "../parts/transformer.js";

export const stablelm = defineArchitecture({
  name: "stablelm",
  families: "StableLM 3B, StableLM 2 1.6B, 12B, StableCode",
  config(m) {
    const common = transformerConfig(m, { norm: "layer", ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim), parallel: !m.hasTensor("blk.0.ffn_norm.weight") };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c) {
    const ffn = gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" });
    const attention = gqa({ ...c, qkvBias: "optional", qkNorm: "head-centred", qkNormWeights: "optional" });
    const before = layerNorm("attn_norm", c);
    if (c.parallel) return [{ site: "layer", before, part: parallel(attention, ffn) }];
    return [
      { site: "mixer", before, part: attention },
      { site: "ffn", before: layerNorm("ffn_norm", c), part: ffn },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c, { norm: (size) => layerNorm("output_norm", c, "required", size) }),
  mechanisms: ["rope", "rope-pairs", "rope-dims", "qk-norm"],
  tiny: [
    {
      variant: "dense",
      metadata: tiny,
      optionalTensors: ["ffn_norm.weight", "ffn_norm.bias"],
      lacks: ["qk-norm"],
    },
    {
      variant: "parallel",
      metadata: tiny,
      optionalTensors: ["attn_q_norm.weight", "attn_k_norm.weight"],
    },
  ],
});

/** llama.cpp insists on heads * headDim = dim for this one. */
function tiny(dims: 64 | 256) {
  return { ...tinyLayerNorm(dims), "attention.head_count": dims / 32, "rope.dimension_count": 8 };
}
