/**
 * GPT-NeoX 20B and Pythia: LayerNorm, biases everywhere, FFN without a gate, RoPE over a quarter of each head.
 * Attention and FFN read the same stream, each through a norm of its own, unless the file says that one follows the
 * other.
 * @source Black et al. 2022, "GPT-NeoX-20B"; Biderman et al. 2023, "Pythia"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { plainFfn } from "../parts/plain-ffn.js";
import { embedTokens, layerNorm, tinyLayerNorm, tokenHead, transformerConfig } from "../parts/transformer.js";

export const gptneox = defineArchitecture({
  name: "gptneox",
  families: "GPT-NeoX 20B, Pythia, Dolly",
  config(m) {
    const common = transformerConfig(m, { norm: "layer", ffn: "dense" });
    return { ...common, parallel: m.flag("use_parallel_residual", true), rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    {
      site: "mixer",
      before: layerNorm("attn_norm", c),
      part: gqa({ ...c, qkvBias: "optional", outputBias: "required" }),
    },
    {
      site: c.parallel ? "mixer" : "ffn",
      before: layerNorm("ffn_norm", c),
      part: plainFfn({ dim: c.dim, hidden: c.hidden, act: "gelu-tanh", bias: "required" }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c, { norm: (size) => layerNorm("output_norm", c, "required", size) }),
  mechanisms: ["rope", "rope-pairs", "rope-dims", "bias"],
  tiny: [
    { variant: "dense", metadata: tiny, optionalTensors: ["attn_qkv.weight", "attn_qkv.bias"] },
    {
      variant: "sequential",
      metadata: (dims) => ({ ...tiny(dims), use_parallel_residual: false }),
      optionalTensors: ["attn_qkv.weight", "attn_qkv.bias"],
    },
  ],
});

/** llama.cpp insists on heads * headDim = dim for this one. */
function tiny(dims: 64 | 256) {
  return {
    ...tinyLayerNorm(dims),
    "attention.head_count": dims / 32,
    "rope.dimension_count": 8,
    use_parallel_residual: true,
  };
}
