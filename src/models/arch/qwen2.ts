/** Qwen2 and Qwen2.5: Llama's shape with biases on queries, keys and values.  @source Yang et al. 2024, "Qwen2" */
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { readRope } from "../parts/rope.js";
import { tinyTransformer, transformerConfig } from "../parts/transformer.js";
import { defineArchitecture } from "../spec.js";

export const qwen2 = defineArchitecture({
  name: "qwen2",
  families: "Qwen2, Qwen2.5, QwQ, DeepSeek-R1-Distill-Qwen",
  headBias: true,
  config(m) {
    const common = transformerConfig(m);
    return { ...common, rope: readRope(m, common.headDim, false) };
  },
  layer: (c) => ({
    mixer: { norm: "attn_norm", part: gqa({ ...c, qkvBias: "required" }) },
    ffn: { norm: "ffn_norm", part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }) },
  }),
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
