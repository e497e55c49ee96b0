/**
 * Jamba: selective scans in most layers, attention without positions in the others; experts in every second layer,
 * chosen by a softmax router whose weights keep their share of all experts.
 * @source Lieber et al. 2024, "Jamba: A Hybrid Transformer-Mamba Language Model"
 */
import { defineArchitecture, type TinyMetadata } from "../flow/architecture.js";
import type { Part } from "../flow/flow.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { headsOf, hybridHeads } from "../parts/hybrid.js";
import { moe } from "../parts/moe.js";
import { routed, routerConfig } from "../parts/router.js";
import { selectiveScan, selectiveScanConfig } from "../parts/selective-scan.js";
import { embedTokens, rms, streamConfig, tinyTransformer, tokenHead } from "../parts/transformer.js";

const tiny = (dims: 64 | 256): TinyMetadata => ({
  ...tinyTransformer(dims),
  block_count: 4,
  // llama.cpp insists on heads * headDim = dim, and on twice as many channels.
  "attention.head_count": dims / 32,
  "attention.head_count_kv": [0, 2, 0, 2],
  "ssm.conv_kernel": 4,
  "ssm.inner_size": 2 * dims,
  "ssm.state_size": 8,
  "ssm.time_step_rank": 16,
});

export const jamba = defineArchitecture({
  name: "jamba",
  families: "Jamba 1.5-1.7 Mini 52B-A12B, Large 398B-A94B, Jamba Reasoning 3B",
  config(m) {
    const common = streamConfig(m);
    const scan = selectiveScanConfig(m);
    return { ...common, ...hybridHeads(m, common), ...routerConfig(m, common, { score: "softmax" }), scan };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const heads = headsOf(c, i);
    const experts = moe({ ...c, ...routed(c), act: "silu" });
    const dense = gatedFfn({ ...c, act: "silu" });
    // Which layers have experts the file says by its tensors.
    const ffn: Part = (f, x) => (c.experts > 0 && f.has("ffn_gate_inp.weight") ? experts(f, x) : dense(f, x));
    return [
      {
        site: "mixer",
        before: rms("attn_norm", c),
        part: heads.kvHeads === 0 ? selectiveScan({ ...c, ...c.scan }) : gqa({ ...c, ...heads, rope: null }),
      },
      { site: "ffn", before: rms("ffn_norm", c), part: ffn },
    ];
  },
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["convolution", "decay", "strength", "skip", "gate", "state-norm"],
  tiny: [
    { variant: "dense", tied: true, metadata: tiny },
    {
      variant: "moe",
      metadata: (dims) => ({ ...tiny(dims), expert_count: 8, expert_used_count: 3 }),
      optionalTensors: ["ffn_gate_inp.weight"],
    },
  ],
});
