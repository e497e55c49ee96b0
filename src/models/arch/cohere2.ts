/**
 * Command R7B and Command A: LayerNorm without bias, attention and FFN side by side from one norm, three windowed
 * layers with RoPE to one full without, tied head whose logits are scaled.
 * @source Cohere 2025, "Command A: An Enterprise-Ready Large Language Model"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import {
  embedTokens,
  layerNorm,
  parallel,
  tinyLayerNorm,
  tokenHead,
  transformerConfig,
  windowedLayers,
} from "../parts/transformer.js";

export const cohere2 = defineArchitecture({
  name: "cohere2",
  families: "Command R7B, Command A 111B, Aya Vision",
  ggufPairs: "interleaved",
  config(m) {
    const common = transformerConfig(m, { norm: "layer", ffn: "dense" });
    return {
      ...common,
      window: m.uint("attention.sliding_window"),
      windowed: windowedLayers(m, 4),
      rope: readRope(m, common.headDim),
      logitScale: m.float("logit_scale") || 1,
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => [
    {
      site: "layer",
      before: layerNorm("attn_norm", c, "none"),
      part: parallel(
        gqa({ ...c, rope: c.windowed(i) ? c.rope : null, window: c.windowed(i) ? c.window : 0 }),
        gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }),
      ),
    },
  ],
  end: (f, x, c) =>
    tokenHead(f, x, c, { scale: c.logitScale, norm: (size) => layerNorm("output_norm", c, "none", size) }),
  mechanisms: ["rope", "window", "multipliers"],
  tiny: [
    {
      variant: "dense",
      tied: true,
      metadata: (dims) => ({
        ...tinyLayerNorm(dims),
        // llama.cpp insists on heads * headDim = dim for this one.
        "attention.head_count": dims / 32,
        block_count: 4,
        "attention.sliding_window": 16,
        logit_scale: 0.25,
      }),
    },
  ],
});
