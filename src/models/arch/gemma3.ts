/**
 * Gemma 3: five windowed layers to one full, each with its own RoPE base, QK-norm, norms before and after every branch,
 * GeGLU, embeddings scaled by sqrt(dim), tied head.
 * @source Gemma Team 2025, "Gemma 3 Technical Report"; GGUF stores norm weights with the +1 already added
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope, readWindowedRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import {
  embedTokens,
  rms,
  rmsAfter,
  tinyTransformer,
  tokenHead,
  transformerConfig,
  windowedLayers,
} from "../parts/transformer.js";

/** The 27B model scales scores by the width per head instead of the head size; GGUF has no key for it. */
const layersOf27B = 62;

export const gemma3 = defineArchitecture({
  name: "gemma3",
  families: "Gemma 3 270M-27B",
  config(m) {
    const common = transformerConfig(m);
    const globalRope = readRope(m, common.headDim);
    const window = m.uint("attention.sliding_window", { min: 0, default: 0 });
    return {
      ...common,
      window,
      windowed: windowedLayers(m, 6),
      globalRope,
      // Context extension is for the full layers only; windowed ones never see far positions.
      localRope: { ...readWindowedRope(m, globalRope, 10_000), scaling: { kind: "none" as const } },
      scale: 1 / Math.sqrt(common.layers === layersOf27B ? common.dim / common.heads : common.headDim),
      softcap: m.float("final_logit_softcapping", { default: 0 }),
    };
  },
  begin: (f, c) => embedTokens(f, c, { scale: Math.fround(Math.sqrt(c.dim)) }),
  layer(c, i) {
    const local = c.window > 0 && c.windowed(i);
    return [
      {
        site: "mixer",
        before: rms("attn_norm", c),
        part: gqa({
          ...c,
          rope: local ? c.localRope : c.globalRope,
          window: local ? c.window : 0,
          qkNorm: "head",
          scale: c.scale,
          softcap: 0,
        }),
        after: rmsAfter("post_attention_norm", c),
      },
      {
        site: "ffn",
        before: rms("ffn_norm", c),
        part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "gelu-tanh" }),
        after: rmsAfter("post_ffw_norm", c),
      },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c, { softcap: c.softcap }),
  mechanisms: ["rope", "qk-norm", "window"],
  tiny: [
    {
      variant: "dense",
      tied: true,
      shallow: { "attention.sliding_window_pattern": 2 },
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        block_count: 7,
        "attention.sliding_window": 16,
        "rope.freq_base": 1e6,
        "rope.scaling.type": "linear",
        "rope.scaling.factor": 8,
      }),
    },
  ],
});
