/**
 * Falcon 7B, 40B and 180B: LayerNorm, attention over one or few key heads and an FFN without a gate side by side; the
 * larger models have a norm for each.
 * @source Almazrouei et al. 2023, "The Falcon Series of Open Language Models"
 */

import { defineArchitecture } from "../flow/architecture.js";
import type { Part } from "../flow/flow.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { plainFfn } from "../parts/plain-ffn.js";
import { embedTokens, layerNorm, tinyLayerNorm, tokenHead, transformerConfig } from "../parts/transformer.js";

export const falcon = defineArchitecture({
  name: "falcon",
  families: "Falcon 7B, 40B, 180B",
  config(m) {
    const common = transformerConfig(m, { norm: "layer", ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c) {
    const own: Part = (f, x) => layerNorm(f.has("attn_norm_2.weight") ? "attn_norm_2" : "attn_norm", c)(f, x);
    return [
      { site: "layer", before: own, part: gqa({ ...c, qkvBias: "optional" }) },
      {
        site: "layer",
        before: layerNorm("attn_norm", c),
        part: plainFfn({ dim: c.dim, hidden: c.hidden, act: "gelu-tanh" }),
      },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c, { norm: (size) => layerNorm("output_norm", c, "required", size) }),
  mechanisms: ["rope", "rope-pairs"],
  tiny: [
    { variant: "dense", metadata: tiny, optionalTensors: ["attn_qkv.weight"] },
    {
      variant: "two-norms",
      metadata: tiny,
      tied: true,
      optionalTensors: ["attn_qkv.weight", "attn_norm_2.weight", "attn_norm_2.bias"],
    },
  ],
});

/** llama.cpp insists on heads * headDim = dim for this one. */
function tiny(dims: 64 | 256) {
  return { ...tinyLayerNorm(dims), "attention.head_count": dims / 32, "attention.head_count_kv": 1 };
}
