/**
 * Qwen3.5, 3.6 and 3.8 without experts: gated delta nets in three of four layers, attention with a gate for every
 * value in the others. Files have the value heads in an order in which they share key heads by turns. A block that
 * guesses the next token but one is a program of its own.
 * @source Qwen Team 2026, "Qwen3.5"
 */
import { defineArchitecture } from "../flow/architecture.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import {
  checkSections,
  deltaNetMechanisms,
  gatedHybridConfig,
  gatedHybridLayer,
  tinyGatedHybrid,
} from "../parts/gated-hybrid.js";
import { mtpBlocks, mtpPrograms, tinyMtp } from "../parts/mtp.js";
import { embedTokens, tokenHead } from "../parts/transformer.js";

/** Three sections of the eight pairs a tiny model rotates. */
export const tinySections = { "rope.dimension_sections": [3, 3, 2, 0] };

export const qwen35 = defineArchitecture({
  name: "qwen35",
  families: "Qwen3.5 0.8B-27B, Qwen3.6-27B, Qwen3.8-27B",
  config(m) {
    const common = gatedHybridConfig(m, { ffn: "dense" });
    checkSections(m, common.rope);
    return { ...common, mtp: mtpBlocks(m, common.layers) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => gatedHybridLayer(c, i, gatedFfn({ ...c, act: "silu" }), { pairing: "tiled" }),
  end: (f, x, c) => tokenHead(f, x, c),
  programs: mtpPrograms,
  mechanisms: ["rope", "rope-dims", "qk-norm", "gate", ...deltaNetMechanisms],
  tiny: [
    {
      variant: "dense",
      metadata: (dims) => ({ ...tinyGatedHybrid(dims), ...tinySections }),
    },
    {
      variant: "tied",
      tied: true,
      metadata: (dims) => ({
        ...tinyGatedHybrid(dims),
        ...tinySections,
        "attention.recurrent_layers": [1, 0, 1, 1],
        "ssm.group_count": dims === 64 ? 4 : 8,
      }),
      lacks: ["pairing"],
    },
    {
      variant: "mtp",
      metadata: (dims) => ({ ...tinyGatedHybrid(dims), ...tinySections, block_count: 5, nextn_predict_layers: 1 }),
      shallow: { block_count: 3 },
      shapes: tinyMtp(4),
      optionalTensors: ["nextn.shared_head_norm.weight"],
    },
  ],
});
