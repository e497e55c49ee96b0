/**
 * dots.llm1: Qwen3's attention; the first layers dense, then experts with a bias for choosing and shared experts.
 * @source Huo et al. 2025, "dots.llm1 Technical Report"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { leadingDenseFfn } from "../parts/leading-dense.js";
import { routerConfig, tinyExperts } from "../parts/router.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const dots1 = defineArchitecture({
  name: "dots1",
  families: "dots.llm1 142B-A14B",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    return { ...common, ...routerConfig(m, common, { score: "sigmoid" }), rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, qkNorm: "head" }) },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part: leadingDenseFfn(c, i),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "qk-norm", "router-norm", "selection-bias", "shared-expert"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        ...tinyExperts(dims),
        // llama.cpp insists on as many key heads as query heads for this one.
        "attention.head_count_kv": dims === 64 ? 4 : 8,
        expert_gating_func: 2,
      }),
      optionalTensors: ["exp_probs_b.bias"],
    },
  ],
});
