/**
 * Qwen3.5, 3.6 and 3.8 without experts: gated delta nets in three of four layers, attention with a gate for every
 * value in the others. Files have the value heads in an order in which they share key heads by turns. A block that
 * guesses the next token but one is left out.
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
import { embedTokens, tokenHead } from "../parts/transformer.js";

/** Three sections of the eight pairs a tiny model rotates. */
export const tinySections = { "rope.dimension_sections": [3, 3, 2, 0] };

/** Tensors of a tiny model's block that guesses a further token: attention, FFN, and what joins row and token. */
const behind = (dims: 64 | 256): Readonly<Record<string, readonly number[]>> => {
  const rows = (dims === 64 ? 4 : 8) * 32;
  const shapes = {
    attn_norm: [dims],
    attn_q: [dims, 2 * rows],
    attn_k: [dims, 64],
    attn_v: [dims, 64],
    attn_output: [rows, dims],
    attn_q_norm: [32],
    attn_k_norm: [32],
    post_attention_norm: [dims],
    ffn_gate: [dims, 2 * dims],
    ffn_up: [dims, 2 * dims],
    ffn_down: [2 * dims, dims],
    "nextn.eh_proj": [2 * dims, dims],
    "nextn.enorm": [dims],
    "nextn.hnorm": [dims],
  };
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [`blk.4.${name}.weight`, shape]));
};

export const qwen35 = defineArchitecture({
  name: "qwen35",
  families: "Qwen3.5 0.8B-27B, Qwen3.6-27B, Qwen3.8-27B",
  config(m) {
    const common = gatedHybridConfig(m, { ffn: "dense" });
    checkSections(m, common.rope);
    return common;
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => gatedHybridLayer(c, i, gatedFfn({ ...c, act: "silu" }), { pairing: "tiled" }),
  end: (f, x, c) => tokenHead(f, x, c),
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
      spare: (dims) => behind(dims),
    },
  ],
});
