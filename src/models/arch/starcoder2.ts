/**
 * StarCoder 2: LayerNorm and biases everywhere, FFN without a gate.
 * @source Lozhkov et al. 2024, "StarCoder 2 and The Stack v2"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { plainFfn } from "../parts/plain-ffn.js";
import { embedTokens, layerNorm, tinyLayerNorm, tokenHead, transformerConfig } from "../parts/transformer.js";

export const starcoder2 = defineArchitecture({
  name: "starcoder2",
  families: "StarCoder2 3B, 7B, 15B",
  config(m) {
    const common = transformerConfig(m, { norm: "layer", ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    {
      site: "mixer",
      before: layerNorm("attn_norm", c),
      part: gqa({ ...c, qkvBias: "optional", outputBias: "required" }),
    },
    {
      site: "ffn",
      before: layerNorm("ffn_norm", c),
      part: plainFfn({ dim: c.dim, hidden: c.hidden, act: "gelu-tanh", bias: "required" }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c, { norm: (size) => layerNorm("output_norm", c, "required", size) }),
  mechanisms: ["rope", "rope-pairs", "bias"],
  tiny: [
    {
      variant: "dense",
      tied: true,
      // llama.cpp insists on heads * headDim = dim for this one.
      metadata: (dims) => ({ ...tinyLayerNorm(dims), "attention.head_count": dims / 32 }),
      optionalTensors: ["attn_q.bias", "attn_k.bias", "attn_v.bias"],
    },
  ],
});
