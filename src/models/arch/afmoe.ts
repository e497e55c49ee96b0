/**
 * Trinity: norms before and after both branches, every head of queries and keys normalized, a gate on what attention
 * gives, RoPE in windowed layers only, embeddings scaled by sqrt(dim); the first layers dense, then experts with a
 * shared one.
 * @source Arcee AI 2025, "Trinity"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { denseOr, moe } from "../parts/moe.js";
import { routed, routerConfig, tinyExperts } from "../parts/router.js";
import {
  embedTokens,
  rms,
  tinyTransformer,
  tokenHead,
  transformerConfig,
  windowedLayers,
} from "../parts/transformer.js";

export const afmoe = defineArchitecture({
  name: "afmoe",
  families: "Trinity Nano, Mini, Large 399B-A13B",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    return {
      ...common,
      ...routerConfig(m, common, { score: "sigmoid" }),
      window: m.uint("attention.sliding_window", { min: 0, default: 0 }),
      windowed: windowedLayers(m, 4),
      rope: readRope(m, common.headDim),
    };
  },
  begin: (f, c) => embedTokens(f, c, { scale: Math.fround(Math.sqrt(c.dim)), tinySize: 1 }),
  layer(c, i) {
    const experts = moe({
      ...c,
      ...routed(c),
      act: "silu",
      selectionBias: "exp_probs_b.bias",
      selectionBiasOptional: true,
    });
    return [
      {
        site: "mixer",
        before: rms("attn_norm", c),
        part: gqa({
          ...c,
          // Whatever is windowed, every fourth layer has no positions.
          rope: i % 4 === 3 ? null : c.rope,
          window: c.windowed(i) ? c.window : 0,
          qkNorm: "head",
          gate: "value",
        }),
        after: rms("post_attention_norm", c),
      },
      {
        site: "ffn",
        before: rms("ffn_norm", c),
        part: denseOr(i < c.leadingDense, c, experts),
        after: rms("post_ffw_norm", c),
      },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c, { embedded: Math.sqrt(c.dim) }),
  mechanisms: ["rope", "window", "qk-norm", "gate", "router-norm", "selection-bias", "shared-expert", "multipliers"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        ...tinyExperts(dims),
        block_count: 4,
        expert_gating_func: 2,
        "attention.sliding_window": 16,
      }),
      optionalTensors: ["exp_probs_b.bias"],
    },
  ],
});
