/**
 * Hunyuan 3: Qwen3's attention; the first layers dense, then experts with a sigmoid router, a bias for choosing and a
 * shared expert. A block that guesses further tokens is a program of its own.
 * @source Tencent 2026, "Hy3"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { leadingDenseFfn } from "../parts/leading-dense.js";
import { mtpBlocks, mtpPrograms } from "../parts/mtp.js";
import { routerConfig } from "../parts/router.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const hyV3 = defineArchitecture({
  name: "hy_v3",
  families: "Hy3 295B-A21B",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    const router = routerConfig(m, common, { score: "sigmoid" });
    return {
      ...common,
      ...router,
      sharedHidden: router.sharedHidden || common.expertHidden,
      // Older files do not count their dense layers; a dense layer has no router.
      leadingDense: m.has("leading_dense_block_count") ? router.leadingDense : 1,
      rope: readRope(m, common.headDim),
      mtp: mtpBlocks(m, common.layers),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      part: gqa({ ...c, qkvBias: "optional", qkNorm: "head", ropeDivisors: "rope_freqs" }),
    },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part: leadingDenseFfn(c, i, "exp_probs_b"),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  programs: mtpPrograms,
  mechanisms: ["rope", "rope-pairs", "qk-norm", "router-norm", "selection-bias", "shared-expert"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        leading_dense_block_count: 1,
        expert_feed_forward_length: dims,
        expert_shared_feed_forward_length: dims,
        expert_count: 8,
        expert_used_count: 3,
        expert_weights_norm: true,
        expert_weights_scale: 1.5,
      }),
      optionalTensors: ["exp_probs_b"],
    },
  ],
});
