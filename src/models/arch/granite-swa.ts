/**
 * Granite with windowed layers: Granite's factors, attention sinks, one flag a layer for its window and one for RoPE;
 * a shared expert whose gate and up are one tensor.
 * @source IBM 2026, "Granite 5"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { graniteConfig, graniteHead, tinyGranite } from "../parts/granite.js";
import { moe } from "../parts/moe.js";
import { routed, routerConfig } from "../parts/router.js";
import { embedTokens, rms, windowedLayers } from "../parts/transformer.js";

export const graniteSwa = defineArchitecture({
  name: "granite_swa",
  families: "Granite with sliding windows",
  ggufPairs: "neighbours",
  config(m) {
    const common = graniteConfig(m, {});
    const turned = m.list("attention.rope_pattern");
    return {
      ...common,
      ...routerConfig(m, common, { score: "softmax" }),
      window: m.uint("attention.sliding_window"),
      windowed: windowedLayers(m, 1),
      turned: (layer: number) => (turned?.[layer] ?? 1) !== 0,
    };
  },
  begin: (f, c) => embedTokens(f, c, { scale: c.embeddingScale, damping: c.branchScale, tinySize: 1 }),
  layer(c, i) {
    const shared = c.sharedHidden === 0 ? undefined : { hidden: c.sharedHidden, fused: "ffn_up_shexp" };
    return [
      {
        site: "mixer",
        before: rms("attn_norm", c),
        part: gqa({
          ...c,
          rope: c.turned(i) ? c.rope : null,
          ropeDivisors: "rope_freqs",
          window: c.windowed(i) ? c.window : 0,
          sinks: true,
          qkvBias: "optional",
          outputBias: "optional",
        }),
      },
      {
        site: "ffn",
        before: rms("ffn_norm", c),
        part:
          c.experts === 0
            ? gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu", bias: "optional" })
            : moe({ ...c, ...routed(c), hidden: c.hidden, act: "silu", score: "softmax", renormalize: true, shared }),
      },
    ];
  },
  end: (f, x, c) => graniteHead(f, x, c),
  mechanisms: ["rope", "window", "sinks", "multipliers", "router-norm", "shared-expert"],
  tiny: [
    { variant: "dense", tied: true, metadata: tiny, lacks: ["router-norm", "shared-expert"] },
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tiny(dims),
        feed_forward_length: dims,
        expert_count: 8,
        expert_used_count: 3,
        expert_shared_feed_forward_length: dims,
      }),
    },
  ],
});

function tiny(dims: 64 | 256) {
  return {
    ...tinyGranite(dims),
    block_count: 4,
    "attention.sliding_window": 16,
    "attention.sliding_window_pattern": [1, 0, 1, 0],
    "attention.rope_pattern": [1, 0, 1, 1],
  };
}
