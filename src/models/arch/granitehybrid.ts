/**
 * Granite 4: state spaces in most layers, attention in the others, Granite's factors around both; a dense FFN, or
 * experts with one that every row takes. Most models encode no positions.
 * @source IBM 2025, "Granite 4.0"
 */
import { defineArchitecture } from "../flow/architecture.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { graniteFactors, graniteHead, tinyGranite } from "../parts/granite.js";
import { headsOf, hybridHeads } from "../parts/hybrid.js";
import { moe } from "../parts/moe.js";
import { routed, routerConfig } from "../parts/router.js";
import { stateSpace, stateSpaceConfig, stateSpaceMechanisms, tinyStateSpace } from "../parts/state-space.js";
import { embedTokens, rms, streamConfig } from "../parts/transformer.js";

const tiny = (dims: 64 | 256) => ({
  ...tinyGranite(dims),
  ...tinyStateSpace(dims),
  block_count: 4,
  "attention.head_count_kv": [0, 2, 0, 2],
});

export const graniteHybrid = defineArchitecture({
  name: "granitehybrid",
  families: "Granite 4.0-H 350M-3B, 7B-A1B, 32B-A9B",
  ggufPairs: "neighbours",
  config(m) {
    const common = streamConfig(m);
    const heads = hybridHeads(m, common);
    const router = routerConfig(m, common, { score: "softmax", renormalize: true });
    return { ...common, ...heads, ...graniteFactors(m, heads.headDim), ...router, space: stateSpaceConfig(m) };
  },
  begin: (f, c) => embedTokens(f, c, { scale: c.embeddingScale, damping: c.branchScale, tinySize: 1 }),
  layer(c, i) {
    const heads = headsOf(c, i);
    const biases = { qkvBias: "optional", outputBias: "optional" } as const;
    const attention = gqa({ ...c, ...heads, ropeDivisors: "rope_freqs", ...biases });
    const experts = moe({ ...c, ...routed(c), act: "silu", renormalize: true });
    return [
      {
        site: "mixer",
        before: rms("attn_norm", c),
        part: heads.kvHeads === 0 ? stateSpace({ ...c, ...c.space }) : attention,
      },
      {
        site: "ffn",
        before: rms("ffn_norm", c),
        part: c.experts > 0 ? experts : gatedFfn({ ...c, act: "silu", bias: "optional" }),
      },
    ];
  },
  end: (f, x, c) => graniteHead(f, x, c),
  mechanisms: [
    "rope",
    "multipliers",
    ...stateSpaceMechanisms,
    "state-norm",
    "unit-norm",
    "router-norm",
    "shared-expert",
  ],
  tiny: [
    {
      variant: "dense",
      tied: true,
      metadata: (dims) => ({ ...tiny(dims), "rope.scaling.finetuned": false }),
      optionalTensors: ["ssm_conv1d.bias"],
      lacks: ["rope", "router-norm", "shared-expert"],
    },
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tiny(dims),
        expert_count: 8,
        expert_used_count: 3,
        expert_shared_feed_forward_length: dims,
      }),
      optionalTensors: ["ssm_conv1d.bias"],
    },
  ],
});
