/**
 * Granite 3 and 4 without recurrent layers: Llama's shape with factors of its own for embeddings, scores, branches and
 * logits. The file of a model with experts goes by the name granitemoe (granitemoe.ts).
 * @source IBM 2024, "Granite 3.0 Language Models"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { graniteConfig, graniteHead, tinyGranite } from "../parts/granite.js";
import { embedTokens, rms } from "../parts/transformer.js";

export const granite = defineArchitecture({
  name: "granite",
  families: "Granite 3.x 2B, 8B, Granite 4 350M-3B",
  ggufPairs: "neighbours",
  config: (m) => graniteConfig(m, { ffn: "dense" }),
  begin: (f, c) => embedTokens(f, c, { scale: c.embeddingScale, damping: c.branchScale, tinySize: 1 }),
  layer: (c) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      part: gqa({ ...c, ropeDivisors: "rope_freqs", qkvBias: "optional", outputBias: "optional" }),
    },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu", bias: "optional" }),
    },
  ],
  end: (f, x, c) => graniteHead(f, x, c),
  mechanisms: ["rope", "rope-pairs", "multipliers"],
  tiny: [
    { variant: "dense", tied: true, metadata: tinyGranite },
    {
      variant: "no-rope",
      metadata: (dims) => ({ ...tinyGranite(dims), "rope.scaling.finetuned": false }),
      lacks: ["rope", "rope-pairs"],
    },
  ],
});
