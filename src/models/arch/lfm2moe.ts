/**
 * LFM2 with experts: the mixers of the dense models; after the first layers a sigmoid router with a bias for choosing,
 * whose weights are renormalized.
 * @source Liquid AI 2025, "LFM2 Technical Report"
 */
import { defineArchitecture } from "../flow/architecture.js";
import { denseOr, moe } from "../parts/moe.js";
import { routed, routerConfig } from "../parts/router.js";
import { embedTokens } from "../parts/transformer.js";
import { lfm2Config, lfm2Head, lfm2Layer, tinyLfm2 } from "./lfm2.js";

export const lfm2moe = defineArchitecture({
  name: "lfm2moe",
  families: "LFM2-8B-A1B, LFM2-24B-A2B",
  config(m) {
    const common = lfm2Config(m, { ffn: "experts" });
    return { ...common, ...routerConfig(m, common, { score: "sigmoid" }) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer(c, i) {
    const selectionBias = "exp_probs_b.bias";
    const experts = moe({ ...c, ...routed(c), act: "silu", renormalize: true, selectionBias });
    return lfm2Layer(c, i, denseOr(i < c.leadingDense, c, experts));
  },
  end: (f, x, c) => lfm2Head(f, x, c),
  mechanisms: ["rope", "qk-norm", "gate", "convolution", "router-norm", "selection-bias"],
  tiny: [
    {
      variant: "moe",
      tied: true,
      metadata: (dims) => ({
        ...tinyLfm2(dims),
        leading_dense_block_count: 1,
        expert_feed_forward_length: dims,
        expert_count: 8,
        expert_used_count: 3,
        expert_gating_func: 2,
      }),
    },
  ],
});
