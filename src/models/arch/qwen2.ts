/** Qwen2 and Qwen2.5: Llama's shape with biases on queries, keys and values.  @source Yang et al. 2024, "Qwen2" */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const qwen2 = defineArchitecture({
  name: "qwen2",
  families: "Qwen2, Qwen2.5, QwQ, DeepSeek-R1-Distill-Qwen",
  config(m) {
    const common = transformerConfig(m);
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, qkvBias: "required" }) },
    { site: "ffn", before: rms("ffn_norm", c), part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }) },
  ],
  end: (f, x, c) => tokenHead(f, x, c, { bias: "optional" }),
  mechanisms: ["rope"],
  tiny: [
    {
      variant: "dense",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        // llama.cpp insists on heads * headDim = dim for this one.
        "attention.head_count": dims / 32,
        "rope.freq_base": 1e6,
      }),
    },
  ],
});
