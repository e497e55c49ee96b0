/**
 * Granite 3 with experts: Granite's factors, softmax router with the chosen weights renormalized, and in Granite 4 an
 * expert that every row takes.
 * @source IBM 2024, "Granite 3.0 Language Models"; Shen et al. 2024, "JetMoE"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { gqa } from "../parts/gqa.js";
import { graniteConfig, graniteHead, tinyGranite } from "../parts/granite.js";
import { moe } from "../parts/moe.js";
import { routed, routerConfig } from "../parts/router.js";
import { embedTokens, rms } from "../parts/transformer.js";

export const graniteMoe = defineArchitecture({
  name: "granitemoe",
  families: "Granite 3.x 1B-A400M, 3B-A800M",
  ggufPairs: "neighbours",
  config(m) {
    const common = graniteConfig(m, { ffn: "experts" });
    return { ...common, ...routerConfig(m, common, { score: "softmax" }) };
  },
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
      part: moe({ ...c, ...routed(c), act: "silu", score: "softmax", renormalize: true }),
    },
  ],
  end: (f, x, c) => graniteHead(f, x, c),
  mechanisms: ["rope", "multipliers", "router-norm", "shared-expert"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({ ...tinyGranite(dims), expert_count: 8, expert_used_count: 3 }),
      lacks: ["shared-expert"],
    },
    {
      variant: "shared",
      metadata: (dims) => ({
        ...tinyGranite(dims),
        expert_count: 8,
        expert_used_count: 3,
        expert_shared_feed_forward_length: dims,
      }),
    },
  ],
});
