/**
 * EXAONE 4: branches read the stream as it is and are normalized afterwards; every head of queries and keys is
 * normalized. The 32B model has three windowed layers with RoPE to one full without.
 * @source LG AI Research 2025, "EXAONE 4.0"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
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

/** Only the 32B model is windowed; its file may not say so. */
const layersOf32B = 64;

export const exaone4 = defineArchitecture({
  name: "exaone4",
  families: "EXAONE 4.0 1.2B, 32B",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    const windowed = windowedLayers(m, 4);
    const window = common.layers === layersOf32B ? 4096 : 0;
    return {
      ...common,
      window: m.uint("attention.sliding_window", { min: 0, default: window }),
      windowed,
      rope: readRope(m, common.headDim),
      // Of a random model: the more layers, the less each has to say, or rounding would grow from layer to layer.
      tinyBranch: Math.min(1, Math.sqrt(16 / common.layers)),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const local = c.window > 0 && c.windowed(i);
    return [
      {
        site: "mixer",
        before: unnormed,
        part: gqa({
          ...c,
          rope: local || c.window === 0 ? c.rope : null,
          ropeDivisors: "rope_freqs",
          window: local ? c.window : 0,
          qkNorm: "head",
        }),
        after: rms("post_attention_norm", c, c.tinyBranch),
      },
      {
        site: "ffn",
        before: unnormed,
        part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }),
        after: rms("post_ffw_norm", c, c.tinyBranch),
      },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "qk-norm", "window"],
  tiny: [
    { variant: "dense", tied: true, metadata: tiny, lacks: ["window"] },
    {
      variant: "windowed",
      metadata: (dims) => ({
        ...tiny(dims),
        // llama.cpp has windows in models of so many layers only.
        block_count: layersOf32B,
        feed_forward_length: dims,
        "attention.sliding_window": 16,
      }),
      optionalTensors: ["rope_freqs.weight"],
    },
  ],
});

/** llama.cpp insists on heads * headDim = dim for this one. */
function tiny(dims: 64 | 256) {
  return { ...tinyTransformer(dims), "attention.head_count": dims / 32 };
}
