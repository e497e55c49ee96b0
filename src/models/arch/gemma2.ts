/**
 * Gemma 2: every other layer windowed, norms before and after every branch, GeGLU, scores and logits soft-capped,
 * embeddings scaled by sqrt(dim), tied head.
 * @source Gemma Team 2024, "Gemma 2: Improving Open Language Models at a Practical Size"
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
const layersOf27B = 46;

export const gemma2 = defineArchitecture({
  name: "gemma2",
  families: "Gemma 2 2B, 9B, 27B",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    const rope = readRope(m, common.headDim);
    return {
      ...common,
      window: m.uint("attention.sliding_window", { min: 0, default: 4096 }),
      windowed: windowedLayers(m, 2),
      rope,
      localRope: readWindowedRope(m, rope),
      scale: 1 / Math.sqrt(common.layers === layersOf27B ? common.dim / common.heads : common.headDim),
      scoreCap: m.float("attn_logit_softcapping", { default: 50, above: -Number.MIN_VALUE }),
      logitCap: m.float("final_logit_softcapping", { default: 30, above: -Number.MIN_VALUE }),
    };
  },
  begin: (f, c) => embedTokens(f, c, { scale: Math.fround(Math.sqrt(c.dim)) }),
  layer(c, i) {
    const local = c.window > 0 && c.windowed(i);
    const rope = local ? c.localRope : c.rope;
    return [
      {
        site: "mixer",
        before: rms("attn_norm", c),
        part: gqa({ ...c, rope, window: local ? c.window : 0, softcap: c.scoreCap }),
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
  end: (f, x, c) => tokenHead(f, x, c, { softcap: c.logitCap }),
  mechanisms: ["rope", "window", "softcap", "multipliers"],
  tiny: [
    {
      variant: "dense",
      tied: true,
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        block_count: 4,
        "attention.sliding_window": 16,
        attn_logit_softcapping: 2,
        final_logit_softcapping: 15,
      }),
    },
  ],
});
