/**
 * Step 3.5 and 3.7 Flash: windowed and full layers with heads of their own numbers and RoPE of their own, over half
 * as many values in the full ones; a gate for every head; the first layers dense, then experts with a bias for
 * choosing and a shared one, some of them bounded. Blocks that guess further tokens are programs of their own.
 * @source StepFun 2026, "Step 3.5 Flash"
 */

import type { Glu } from "../../ops/ops.js";
import { defineArchitecture } from "../flow/architecture.js";
import { readRope, readWindowedRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { denseOr, moe } from "../parts/moe.js";
import { blocksOf, mtpBlocks, mtpPrograms } from "../parts/mtp.js";
import { routed, routerConfig, tinyExperts } from "../parts/router.js";
import {
  embedTokens,
  headWidths,
  layerHeads,
  rms,
  streamConfig,
  tinyTransformer,
  tokenHead,
  windowedLayers,
} from "../parts/transformer.js";

const bounded = (limit: number): Glu => (limit > 0 ? { clamp: "after", limit } : "silu");

export const step35 = defineArchitecture({
  name: "step35",
  families: "Step-3.5-Flash 196B-A11B, Step-3.7-Flash",
  config(m) {
    const common = streamConfig(m, { ffn: "experts" });
    const mtp = mtpBlocks(m, common.layers);
    const blocks = blocksOf(common.layers, mtp);
    const perLayer = layerHeads(m, blocks);
    const widths = headWidths(m, common.dim, perLayer.heads[0]!);
    const rope = readRope(m, widths.headDim);
    if (rope.dims % 4 !== 0) m.fault(`RoPE over half of ${rope.dims} values`);
    return {
      ...common,
      ...routerConfig(m, common, { score: "sigmoid" }),
      ...widths,
      perLayer,
      mtp,
      window: m.uint("attention.sliding_window"),
      windowed: windowedLayers(m, 1),
      fullRope: { ...rope, dims: rope.dims / 2 },
      localRope: { ...readWindowedRope(m, rope, 10_000), scaling: { kind: "none" as const } },
      limits: m.floats("swiglu_clamp_exp", blocks, { default: 0 }),
      sharedLimits: m.floats("swiglu_clamp_shexp", blocks, { default: 0 }),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const local = c.windowed(i);
    const ropes = local
      ? { rope: c.localRope }
      : { rope: c.fullRope, ropeDivisors: "rope_freqs", ropeDivisorsOf: c.localRope.dims };
    const experts = moe({
      ...c,
      ...routed(c),
      act: bounded(c.limits[i]!),
      selectionBias: "exp_probs_b.bias",
      selectionBiasOptional: true,
      shared: { hidden: c.sharedHidden, act: bounded(c.sharedLimits[i]!) },
    });
    return [
      {
        site: "mixer",
        before: rms("attn_norm", c),
        part: gqa({
          ...c,
          ...ropes,
          heads: c.perLayer.heads[i]!,
          kvHeads: c.perLayer.kvHeads[i]!,
          window: local ? c.window : 0,
          qkvBias: "optional",
          qkNorm: "head",
          qkNormWeights: "optional",
          gate: "head",
        }),
      },
      { site: "ffn", before: rms("ffn_norm", c), part: denseOr(i < c.leadingDense, c, experts) },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c, { carried: c.mtp.length > 0 }),
  programs: (c, layer) => mtpPrograms(c, layer, { carried: true }),
  mechanisms: [
    "rope",
    "rope-dims",
    "window",
    "qk-norm",
    "gate",
    "clamp",
    "router-norm",
    "selection-bias",
    "shared-expert",
  ],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        ...tinyExperts(dims),
        block_count: 4,
        expert_shared_feed_forward_length: dims,
        "attention.head_count": [4, 6, 6, 4],
        "attention.sliding_window": 16,
        "attention.sliding_window_pattern": [0, 1, 1, 0],
        swiglu_clamp_exp: [0, 0.25, 0.5, 0],
        swiglu_clamp_shexp: [0, 0, 0.5, 0.25],
      }),
      optionalTensors: ["attn_q_norm.weight", "attn_k_norm.weight", "exp_probs_b.bias", "rope_freqs.weight"],
    },
  ],
});
