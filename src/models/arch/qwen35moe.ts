/**
 * Qwen3.5 and 3.6 with experts: the layers of the dense ones, a softmax router whose weights are renormalized, and an
 * expert that every row takes as much of as a gate says. A block that guesses the next token but one is a program of
 * its own.
 * @source Qwen Team 2026, "Qwen3.5"
 */
import { defineArchitecture } from "../flow/architecture.js";
import { checkSections, deltaNetMechanisms, gatedHybridLayer } from "../parts/gated-hybrid.js";
import { gatedHybridExperts, gatedHybridMoeConfig, tinyGatedHybridMoe } from "../parts/gated-hybrid-moe.js";
import { mtpBlocks, mtpPrograms } from "../parts/mtp.js";
import { embedTokens, tokenHead } from "../parts/transformer.js";
import { tinySections } from "./qwen35.js";

export const qwen35moe = defineArchitecture({
  name: "qwen35moe",
  families: "Qwen3.5-35B-A3B, 122B-A10B, 397B-A17B, Qwen3.6-35B-A3B",
  config(m) {
    const common = gatedHybridMoeConfig(m);
    checkSections(m, common.rope);
    return { ...common, mtp: mtpBlocks(m, common.layers) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => gatedHybridLayer(c, i, gatedHybridExperts(c), { pairing: "tiled" }),
  end: (f, x, c) => tokenHead(f, x, c),
  programs: mtpPrograms,
  mechanisms: ["rope", "rope-dims", "qk-norm", "gate", ...deltaNetMechanisms, "router-norm", "shared-expert"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({ ...tinyGatedHybridMoe(dims), ...tinySections }),
    },
  ],
});
