/**
 * Phi-1, 1.5 and 2: LayerNorm, attention and an FFN without a gate side by side from one norm, biases everywhere,
 * RoPE over a part of each head.
 * @source Microsoft 2023, "Textbooks Are All You Need II: phi-1.5 technical report"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { plainFfn } from "../parts/plain-ffn.js";
import { embedTokens, layerNorm, parallel, tinyLayerNorm, tokenHead, transformerConfig } from "../parts/transformer.js";

export const phi2 = defineArchitecture({
  name: "phi2",
  families: "Phi-1, Phi-1.5, Phi-2",
  config(m) {
    const common = transformerConfig(m, { norm: "layer", ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    {
      site: "layer",
      before: layerNorm("attn_norm", c),
      part: parallel(
        gqa({ ...c, qkvBias: "optional", outputBias: "required" }),
        plainFfn({ dim: c.dim, hidden: c.hidden, act: "gelu-tanh", bias: "required" }),
      ),
    },
  ],
  end: (f, x, c) =>
    tokenHead(f, x, c, { bias: "required", norm: (size) => layerNorm("output_norm", c, "required", size) }),
  mechanisms: ["rope", "rope-pairs", "rope-dims", "bias"],
  tiny: [
    {
      variant: "dense",
      metadata: (dims) => ({
        ...tinyLayerNorm(dims),
        // llama.cpp insists on heads * headDim = dim for this one.
        "attention.head_count": dims / 32,
        "rope.dimension_count": 16,
      }),
      optionalTensors: ["attn_qkv.weight", "attn_qkv.bias"],
    },
  ],
});
