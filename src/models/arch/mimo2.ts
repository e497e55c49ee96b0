/**
 * MiMo-V2: windowed and full layers with key heads of their own numbers, values narrower than keys and scaled, sinks
 * where the file has them, RoPE over a part of each head; the first layers dense, then experts with a sigmoid router
 * and a bias for choosing. Blocks that guess further tokens are programs of their own.
 * @source Xiaomi 2025, "MiMo-V2-Flash"
 */

import { defineArchitecture } from "../flow/architecture.js";
import type { Part } from "../flow/flow.js";
import { readRope, readWindowedRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { denseOr, moe } from "../parts/moe.js";
import { blocksOf, mtpBlocks, mtpPrograms } from "../parts/mtp.js";
import { routed, routerConfig, tinyExperts } from "../parts/router.js";
import {
  embedTokens,
  headWidths,
  layerHeads,
  rms,
  streamConfig,
  tinyTransformer,
  tokenHead,
  windowedLayers,
} from "../parts/transformer.js";

export const mimo2 = defineArchitecture({
  name: "mimo2",
  families: "MiMo-V2-Flash 309B-A15B, MiMo-V2.5",
  config(m) {
    const common = streamConfig(m, { ffn: "experts" });
    const mtp = mtpBlocks(m, common.layers);
    const perLayer = layerHeads(m, blocksOf(common.layers, mtp));
    const widths = headWidths(m, common.dim, perLayer.heads[0]!);
    const rope = readRope(m, widths.headDim);
    return {
      ...common,
      ...routerConfig(m, common, { score: "sigmoid" }),
      ...widths,
      perLayer,
      mtp,
      window: m.uint("attention.sliding_window"),
      windowed: windowedLayers(m, 1),
      rope,
      localRope: { ...readWindowedRope(m, rope, 10_000), scaling: { kind: "none" as const } },
      valueScale: m.float("attention.value_scale", { default: 1 }) || 1,
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    // Blocks behind the trunk are windowed and dense.
    const behind = i >= c.layers;
    const local = behind || c.windowed(i);
    const attention = gqa({
      ...c,
      heads: c.perLayer.heads[i]!,
      kvHeads: c.perLayer.kvHeads[i]!,
      rope: local ? c.localRope : c.rope,
      window: local ? c.window : 0,
      sinks: "optional",
      qkvBias: "optional",
    });
    const scaled: Part = (f, x) => f.scale(attention(f, x), c.valueScale);
    const experts = moe({
      ...c,
      ...routed(c),
      act: "silu",
      score: "sigmoid",
      renormalize: true,
      selectionBias: "exp_probs_b.bias",
      selectionBiasOptional: true,
      shared: undefined,
    });
    return [
      { site: "mixer", before: rms("attn_norm", c), part: c.valueScale === 1 ? attention : scaled },
      { site: "ffn", before: rms("ffn_norm", c), part: denseOr(behind || i < c.leadingDense, c, experts) },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c, { carried: c.mtp.length > 0 }),
  programs: (c, layer) => mtpPrograms(c, layer, { carried: true }),
  mechanisms: ["rope", "rope-dims", "window", "sinks", "multipliers", "router-norm", "selection-bias"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        ...tinyExperts(dims),
        expert_weights_scale: 1,
        block_count: 4,
        "attention.head_count_kv": [1, 2, 2, 1],
        "attention.key_length": 64,
        "attention.value_length": 32,
        "attention.value_scale": 0.6,
        "rope.dimension_count": 16,
        "attention.sliding_window": 16,
        "attention.sliding_window_pattern": [0, 1, 1, 0],
      }),
      optionalTensors: ["attn_sinks.weight", "exp_probs_b.bias"],
    },
  ],
});
