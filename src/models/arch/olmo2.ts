/**
 * OLMo 2 and 3: branches read the stream as it is and are normalized afterwards; RMSNorm over the whole products of
 * queries and keys. OLMo 3 adds three windowed layers to one full, with context extension for the full ones only.
 * @source OLMo Team 2024, "2 OLMo 2 Furious"; OLMo Team 2025, "Olmo 3"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope, readWindowedRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import {
  embedTokens,
  rms,
  tinyTransformer,
  tokenHead,
  transformerConfig,
  unnormed,
  windowedLayers,
} from "../parts/transformer.js";

export const olmo2 = defineArchitecture({
  name: "olmo2",
  families: "OLMo 2, OLMo 3",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    const rope = readRope(m, common.headDim);
    return {
      ...common,
      window: m.uint("attention.sliding_window", { min: 0, default: 0 }),
      windowed: windowedLayers(m, 4),
      rope,
      localRope: { ...readWindowedRope(m, rope), scaling: { kind: "none" as const } },
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const local = c.window > 0 && c.windowed(i);
    return [
      {
        site: "mixer",
        before: unnormed,
        part: gqa({ ...c, rope: local ? c.localRope : c.rope, window: local ? c.window : 0, qkNorm: "whole" }),
        after: rms("post_attention_norm", c),
      },
      {
        site: "ffn",
        before: unnormed,
        part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }),
        after: rms("post_ffw_norm", c),
      },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-pairs", "qk-norm", "window"],
  tiny: [
    // llama.cpp insists on heads * headDim = dim for this one.
    {
      variant: "dense",
      metadata: (dims) => ({ ...tinyTransformer(dims), "attention.head_count": dims / 32 }),
      lacks: ["window"],
    },
    {
      variant: "windowed",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        "attention.head_count": dims / 32,
        block_count: 4,
        "attention.sliding_window": 16,
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4,
        "rope.scaling.original_context_length": 256,
      }),
    },
  ],
});
