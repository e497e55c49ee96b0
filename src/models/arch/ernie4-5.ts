/** ERNIE 4.5, dense: Llama's shape with neighbours paired by RoPE.  @source Baidu 2025, "ERNIE 4.5 Technical Report" */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const ernie45 = defineArchitecture({
  name: "ernie4_5",
  families: "ERNIE 4.5 0.3B",
  ggufPairs: "interleaved",
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
  tiny: [{ variant: "dense", tied: true, metadata: tinyTransformer }],
});
