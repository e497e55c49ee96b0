/**
 * Qwen3-Next and Qwen3-Coder-Next: gated delta nets in three of four layers, attention with a gate for every value in
 * the others; a softmax router whose weights are renormalized, and an expert that every row takes as much of as a gate
 * says. Value heads share key heads in neighbouring groups.
 * @source Qwen Team 2025, "Qwen3-Next: Towards Ultimate Training & Inference Efficiency"
 */
import { defineArchitecture, type TinyMetadata } from "../flow/architecture.js";
import { deltaNetMechanisms, gatedHybridConfig, gatedHybridLayer, tinyGatedHybrid } from "../parts/gated-hybrid.js";
import { moe } from "../parts/moe.js";
import { routed, routerConfig } from "../parts/router.js";
import { embedTokens, tokenHead } from "../parts/transformer.js";

const tiny = (dims: 64 | 256): TinyMetadata => ({
  ...tinyGatedHybrid(dims),
  expert_feed_forward_length: dims,
  expert_shared_feed_forward_length: dims,
  expert_count: 8,
  expert_used_count: 3,
});

export const qwen3next = defineArchitecture({
  name: "qwen3next",
  families: "Qwen3-Next-80B-A3B, Qwen3-Coder-Next",
  config(m) {
    const common = gatedHybridConfig(m, { ffn: "experts" });
    const router = routerConfig(m, common, { score: "softmax" });
    return { ...common, ...router, sharedHidden: router.sharedHidden || common.hidden };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const shared = { hidden: c.sharedHidden, gated: true };
    const ffn = moe({ ...c, ...routed(c), act: "silu", score: "softmax", renormalize: true, shared });
    return gatedHybridLayer(c, i, ffn, { joined: true });
  },
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-dims", "qk-norm", "gate", ...deltaNetMechanisms, "router-norm", "shared-expert"],
  tiny: [
    { variant: "moe", metadata: tiny },
    { variant: "one-product", metadata: tiny, optionalTensors: ["ssm_in.weight"] },
  ],
});
