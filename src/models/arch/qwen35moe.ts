/**
 * Qwen3.5 and 3.6 with experts: the layers of the dense ones, a softmax router whose weights are renormalized, and an
 * expert that every row takes as much of as a gate says. A block that guesses the next token but one is left out.
 * @source Qwen Team 2026, "Qwen3.5"
 */
import { defineArchitecture } from "../flow/architecture.js";
import {
  checkSections,
  deltaNetMechanisms,
  gatedHybridConfig,
  gatedHybridLayer,
  tinyGatedHybrid,
} from "../parts/gated-hybrid.js";
import { moe } from "../parts/moe.js";
import { routed, routerConfig } from "../parts/router.js";
import { embedTokens, tokenHead } from "../parts/transformer.js";
import { tinySections } from "./qwen35.js";

export const qwen35moe = defineArchitecture({
  name: "qwen35moe",
  families: "Qwen3.5-35B-A3B, 122B-A10B, 397B-A17B, Qwen3.6-35B-A3B",
  config(m) {
    const common = gatedHybridConfig(m, { ffn: "experts" });
    checkSections(m, common.rope);
    const router = routerConfig(m, common, { score: "softmax" });
    return { ...common, ...router, sharedHidden: router.sharedHidden || common.hidden };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const shared = { hidden: c.sharedHidden, gated: true };
    const ffn = moe({ ...c, ...routed(c), act: "silu", score: "softmax", renormalize: true, shared });
    return gatedHybridLayer(c, i, ffn, { pairing: "tiled" });
  },
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-dims", "qk-norm", "gate", ...deltaNetMechanisms, "router-norm", "shared-expert"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyGatedHybrid(dims),
        ...tinySections,
        expert_feed_forward_length: dims,
        expert_shared_feed_forward_length: dims,
        expert_count: 8,
        expert_used_count: 3,
      }),
    },
  ],
});
