/**
 * K-EXAONE: every head of queries and keys is normalized, RoPE in windowed layers only; the first layer dense, then
 * experts with a sigmoid router, a bias for choosing and a shared expert. A dense block that guesses further tokens
 * is a program of its own.
 * @source LG AI Research 2026, "K-EXAONE Technical Report"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { denseOr, moe } from "../parts/moe.js";
import { mtpBlocks, mtpPrograms } from "../parts/mtp.js";
import { routed, routerConfig, tinyExperts } from "../parts/router.js";
import {
  embedTokens,
  rms,
  tinyTransformer,
  tokenHead,
  transformerConfig,
  windowedLayers,
} from "../parts/transformer.js";

export const exaoneMoe = defineArchitecture({
  name: "exaone-moe",
  families: "K-EXAONE 236B-A23B",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    return {
      ...common,
      ...routerConfig(m, common, { score: "sigmoid" }),
      window: m.uint("attention.sliding_window", { default: 128 }),
      windowed: windowedLayers(m, 4),
      rope: readRope(m, common.headDim),
      mtp: mtpBlocks(m, common.layers),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const local = c.windowed(i);
    const attention = { rope: local ? c.rope : null, window: local ? c.window : 0, qkNorm: "head" } as const;
    const experts = moe({
      ...c,
      ...routed(c),
      act: "silu",
      selectionBias: "exp_probs_b.bias",
      selectionBiasOptional: true,
    });
    return [
      { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, ...attention, ropeDivisors: "rope_freqs" }) },
      { site: "ffn", before: rms("ffn_norm", c), part: denseOr(i < c.leadingDense || i >= c.layers, c, experts) },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c),
  programs: mtpPrograms,
  mechanisms: ["rope", "window", "qk-norm", "router-norm", "selection-bias", "shared-expert"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        ...tinyExperts(dims),
        block_count: 4,
        expert_gating_func: 2,
        "attention.sliding_window": 16,
        "attention.sliding_window_pattern": [1, 1, 1, 0],
      }),
      optionalTensors: ["exp_probs_b.bias"],
    },
  ],
});
