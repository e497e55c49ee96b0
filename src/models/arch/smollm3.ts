/**
 * SmolLM3: Llama's shape, but every fourth layer attends without positions.
 * @source Hugging Face 2025, "SmolLM3"; Yang et al. 2025, "Rope to Nope and Back Again"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const smollm3 = defineArchitecture({
  name: "smollm3",
  families: "SmolLM3 3B",
  ggufPairs: "neighbours",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, rope: i % 4 === 3 ? null : c.rope }) },
    { site: "ffn", before: rms("ffn_norm", c), part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }) },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-pairs"],
  tiny: [{ variant: "dense", metadata: (dims) => ({ ...tinyTransformer(dims), block_count: 4 }) }],
});
