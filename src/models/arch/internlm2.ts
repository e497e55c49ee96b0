/** InternLM 2 and 2.5: Llama's shape.  @source Cai et al. 2024, "InternLM2 Technical Report" */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const internlm2 = defineArchitecture({
  name: "internlm2",
  families: "InternLM2 and 2.5 1.8B-20B",
  ggufPairs: "neighbours",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, qkvBias: "optional", outputBias: "optional" }) },
    { site: "ffn", before: rms("ffn_norm", c), part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }) },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-pairs"],
  tiny: [
    {
      variant: "dense",
      // llama.cpp insists on heads * headDim = dim for this one.
      metadata: (dims) => ({ ...tinyTransformer(dims), "attention.head_count": dims / 32 }),
    },
  ],
});
