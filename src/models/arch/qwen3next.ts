/**
 * Qwen3-Next and Qwen3-Coder-Next: gated delta nets in three of four layers, attention with a gate for every value in
 * the others; a softmax router whose weights are renormalized, and an expert that every row takes as much of as a gate
 * says. Value heads share key heads in neighbouring groups.
 * @source Qwen Team 2025, "Qwen3-Next: Towards Ultimate Training & Inference Efficiency"
 */
import { defineArchitecture } from "../flow/architecture.js";
import { deltaNetMechanisms, gatedHybridLayer } from "../parts/gated-hybrid.js";
import { gatedHybridExperts, gatedHybridMoeConfig, tinyGatedHybridMoe } from "../parts/gated-hybrid-moe.js";
import { mtpBlocks, mtpPrograms } from "../parts/mtp.js";
import { embedTokens, tokenHead } from "../parts/transformer.js";

export const qwen3next = defineArchitecture({
  name: "qwen3next",
  families: "Qwen3-Next-80B-A3B, Qwen3-Coder-Next",
  config(m) {
    const common = gatedHybridMoeConfig(m);
    return { ...common, mtp: mtpBlocks(m, common.layers) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => gatedHybridLayer(c, i, gatedHybridExperts(c), { joined: true }),
  end: (f, x, c) => tokenHead(f, x, c),
  programs: mtpPrograms,
  mechanisms: ["rope", "rope-dims", "qk-norm", "gate", ...deltaNetMechanisms, "router-norm", "shared-expert"],
  tiny: [
    { variant: "moe", metadata: tinyGatedHybridMoe },
    { variant: "one-product", metadata: tinyGatedHybridMoe, optionalTensors: ["ssm_in.weight"] },
  ],
});
