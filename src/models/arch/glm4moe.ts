/**
 * GLM-4.5 to 4.7, with experts: sigmoid router with a bias for choosing, one shared expert, RoPE over half of each
 * head, the first layers dense. Its pre-FFN norm is named post_attention_norm. A block that guesses further tokens
 * is a program of its own.
 * @source GLM-4.5 Team 2025, "GLM-4.5: Agentic, Reasoning, and Coding (ARC) Foundation Models"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import { mtpBlocks, mtpPrograms, tinyMtp } from "../parts/mtp.js";
import { routed, routerConfig, tinyExperts } from "../parts/router.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

const biases = ["attn_q.bias", "attn_k.bias", "attn_v.bias"];

export const glm4moe = defineArchitecture({
  name: "glm4moe",
  families: "GLM-4.5-Air, GLM-4.5, 4.6, 4.7, Solar Open",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    return {
      ...common,
      ...routerConfig(m, common, { score: "sigmoid" }),
      rope: readRope(m, common.headDim),
      mtp: mtpBlocks(m, common.layers),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      // Only the 355B model normalizes its heads.
      part: gqa({ ...c, qkvBias: "optional", qkNorm: "head", qkNormWeights: "optional" }),
    },
    {
      site: "ffn",
      before: rms("post_attention_norm", c),
      part:
        i < c.leadingDense
          ? gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" })
          : moe({ ...c, ...routed(c), act: "silu", selectionBias: "exp_probs_b.bias" }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  programs: mtpPrograms,
  mechanisms: ["rope", "rope-dims", "qk-norm", "bias", "router-norm", "selection-bias", "shared-expert"],
  tiny: [
    { variant: "moe", metadata: tiny, optionalTensors: biases, lacks: ["qk-norm"] },
    {
      variant: "normed",
      metadata: (dims) => ({ ...tiny(dims), block_count: 4, nextn_predict_layers: 1 }),
      shallow: { block_count: 3 },
      shapes: tinyMtp(3),
      optionalTensors: [
        ...biases,
        "attn_q_norm.weight",
        "attn_k_norm.weight",
        ...["embed_tokens", "shared_head_head", "shared_head_norm"].map((name) => `nextn.${name}.weight`),
      ],
    },
  ],
});

function tiny(dims: 64 | 256) {
  return {
    ...tinyTransformer(dims),
    "rope.dimension_count": 16,
    ...tinyExperts(dims),
  };
}
