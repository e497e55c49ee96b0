/**
 * Llama 4: three layers with RoPE that see their own stretch of positions only, one that sees all without positions
 * and whose queries grow with the logarithm of theirs. Sigmoid router; the weight multiplies what goes into an
 * expert.
 * @source Meta 2025, "The Llama 4 herd"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import {
  embedTokens,
  rms,
  tinyTransformer,
  tokenHead,
  transformerConfig,
  windowedLayers,
} from "../parts/transformer.js";

/** Every model has stretches of so many positions, whatever its file says; 0 in the file means none. */
const stretch = 8192;
/** Models of 128 experts do not normalize queries and keys. */
const expertsWithoutNorm = 128;

export const llama4 = defineArchitecture({
  name: "llama4",
  families: "Llama 4 Scout 109B-A17B, Maverick 400B-A17B",
  ggufPairs: "interleaved",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    const chunked = m.uint("attention.sliding_window", { min: 0, default: stretch }) !== 0;
    return {
      ...common,
      rope: readRope(m, common.headDim),
      window: chunked ? stretch : 0,
      windowed: windowedLayers(m, 4),
      step: m.uint("interleave_moe_layer_step", { min: 0, max: 4096 }),
      scale: m.float("attention.scale", { default: 0 }) || 1 / Math.sqrt(common.headDim),
      normed: common.experts !== expertsWithoutNorm,
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const turned = c.window === 0 || i % 4 !== 3;
    return [
      {
        site: "mixer",
        before: rms("attn_norm", c),
        part: gqa({
          ...c,
          rope: turned ? c.rope : null,
          ropeDivisors: "rope_freqs",
          qkvBias: "optional",
          outputBias: "optional",
          reach: c.window > 0 && c.windowed(i) ? { chunk: c.window } : "all",
          qkNorm: turned && c.normed ? "rotated" : undefined,
          qkNormWeights: "none",
          temperature: turned ? undefined : { scale: 0.1, length: stretch, offset: 1 },
        }),
      },
      {
        site: "ffn",
        before: rms("ffn_norm", c),
        part:
          c.step > 0 && (i + 1) % c.step === 0
            ? moe({
                ...c,
                hidden: c.expertHidden,
                act: "silu",
                score: "sigmoid",
                renormalize: false,
                weightsInput: true,
                shared: { hidden: c.expertHidden },
              })
            : gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }),
      },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-pairs", "qk-norm", "shared-expert"],
  tiny: [
    { variant: "moe", metadata: tiny, optionalTensors: ["rope_freqs.weight"] },
    {
      variant: "interleaved",
      metadata: (dims) => ({ ...tiny(dims), expert_count: 128, interleave_moe_layer_step: 2 }),
      lacks: ["qk-norm"],
    },
  ],
});

function tiny(dims: 64 | 256) {
  return {
    ...tinyTransformer(dims),
    "rope.dimension_count": 32,
    block_count: 4,
    interleave_moe_layer_step: 1,
    expert_feed_forward_length: dims,
    expert_count: 8,
    expert_used_count: 1,
  };
}
