/**
 * Cohere's models with experts: attention and FFN side by side from one norm, the first layer of each four full. RoPE
 * only in windowed layers and those that begin the model, which are dense. Half the sum of the routed experts and a
 * shared one counts.
 * @source Cohere 2026, "North Mini Code" and "Command A+"
 */

import { defineArchitecture } from "../flow/architecture.js";
import type { Part } from "../flow/flow.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import { mtpBlocks, mtpPrograms } from "../parts/mtp.js";
import { routed, routerConfig } from "../parts/router.js";
import {
  embedTokens,
  layerNorm,
  parallel,
  rms,
  tinyLayerNorm,
  tinyTransformer,
  tokenHead,
  transformerConfig,
  windowedLayers,
} from "../parts/transformer.js";

export const cohere2moe = defineArchitecture({
  name: "cohere2moe",
  families: "North Mini Code 30B-A3B, Command A+ 218B-A25B",
  ggufPairs: "interleaved",
  config(m) {
    const centred = !m.has("attention.layer_norm_rms_epsilon");
    const common = transformerConfig(m, { norm: centred ? "layer" : "rms", ffn: "experts" });
    return {
      ...common,
      ...routerConfig(m, common, { score: "sigmoid" }),
      centred,
      window: m.uint("attention.sliding_window"),
      windowed: windowedLayers(m, 4, "first"),
      rope: readRope(m, common.headDim),
      logitScale: m.float("logit_scale") || 1,
      mtp: mtpBlocks(m, common.layers),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const dense = i < c.leadingDense;
    const local = c.windowed(i);
    const experts = moe({ ...c, ...routed(c), act: "silu" });
    const halved: Part = (f, x) => f.scale(experts(f, x), 0.5);
    return [
      {
        site: "layer",
        before: norm("attn_norm", c),
        part: parallel(
          gqa({ ...c, rope: local || dense || i >= c.layers ? c.rope : null, window: local ? c.window : 0 }),
          dense ? gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }) : c.sharedHidden === 0 ? experts : halved,
        ),
      },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c, { scale: c.logitScale, norm: (size) => norm("output_norm", c, size) }),
  programs: (c, layer) => mtpPrograms(c, layer, { norm, head: { scale: c.logitScale } }),
  mechanisms: ["rope", "window", "multipliers", "shared-expert"],
  tiny: [
    { variant: "moe", tied: true, metadata: (dims) => ({ ...tinyLayerNorm(dims), ...tinyExperts(dims) }) },
    {
      variant: "rms",
      metadata: (dims) => ({ ...tinyTransformer(dims), ...tinyExperts(dims), expert_weights_norm: true }),
    },
  ],
});

interface Norm {
  readonly centred: boolean;
  readonly dim: number;
  readonly eps: number;
}

const norm = (name: string, c: Norm, tinySize = 1): Part =>
  c.centred ? layerNorm(name, c, "none", tinySize) : rms(name, c, tinySize);

const tinyExperts = (dims: 64 | 256) => ({
  // llama.cpp insists on heads * headDim = dim for this one.
  "attention.head_count": dims / 32,
  block_count: 5,
  leading_dense_block_count: 1,
  expert_feed_forward_length: dims,
  expert_shared_count: 1,
  expert_count: 8,
  expert_used_count: 3,
  "attention.sliding_window": 16,
  "rope.dimension_count": 32,
  logit_scale: 0.25,
});
