/**
 * Nemotron 3/4 and Minitron, dense: LayerNorm, RoPE over a part of each head, squared-ReLU FFN without a gate.
 * @source NVIDIA 2024, "Nemotron-4 340B Technical Report"; GGUF stores norm weights with the +1 already added
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { plainFfn } from "../parts/plain-ffn.js";
import { embedTokens, layerNorm, tinyLayerNorm, tokenHead, transformerConfig } from "../parts/transformer.js";

export const nemotron = defineArchitecture({
  name: "nemotron",
  families: "Nemotron-4 15B, 340B, Minitron 4B, 8B",
  config(m) {
    const common = transformerConfig(m, { norm: "layer", ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    {
      site: "mixer",
      before: layerNorm("attn_norm", c),
      part: gqa({ ...c, qkvBias: "optional", outputBias: "optional" }),
    },
    {
      site: "ffn",
      before: layerNorm("ffn_norm", c),
      part: plainFfn({ dim: c.dim, hidden: c.hidden, act: "relu2", bias: "optional" }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c, { norm: (size) => layerNorm("output_norm", c, "required", size) }),
  mechanisms: ["rope", "rope-dims"],
  tiny: [
    {
      variant: "dense",
      metadata: (dims) => ({
        ...tinyLayerNorm(dims),
        // llama.cpp insists on heads * headDim = dim for this one.
        "attention.head_count": dims / 32,
        "rope.dimension_count": 16,
      }),
    },
  ],
});
