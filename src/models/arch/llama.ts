/**
 * Llama 1 to 3, Mistral, Mixtral and everything that shares their shape: pre-norm GQA and SwiGLU (or experts).
 * @source Touvron et al. 2023; Dubey et al. 2024 (RoPE divisors); Jiang et al. 2024 (Mixtral)
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const llama = defineArchitecture({
  name: "llama",
  families: "Llama 1-3.x, Mistral, Mixtral, SmolLM2, Yi, Vicuna, TinyLlama, DeepSeek-LLM",
  ggufPairs: "neighbours",
  config(m) {
    const common = transformerConfig(m);
    return {
      ...common,
      expertHidden: common.experts > 0 ? common.hidden : 0,
      rope: readRope(m, common.headDim),
      scale: m.float("attention.scale", { default: 0 }),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      part: gqa({
        ...c,
        scale: c.scale === 0 ? 1 / Math.sqrt(c.headDim) : c.scale,
        ropeDivisors: "rope_freqs",
        qkvBias: "optional",
        outputBias: "optional",
      }),
    },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part:
        c.experts === 0
          ? gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu", bias: "optional" })
          : moe({ ...c, hidden: c.expertHidden, act: "silu", score: "softmax", renormalize: true }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "router-norm"],
  tiny: [
    {
      variant: "dense",
      metadata: (dims) => tiny(dims),
      optionalTensors: ["rope_freqs.weight"],
      lacks: ["router-norm"],
    },
    {
      variant: "tied-biased",
      metadata: (dims) => tiny(dims),
      tied: true,
      optionalTensors: ["attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias"],
      lacks: ["router-norm"],
    },
    { variant: "moe", metadata: (dims) => ({ ...tiny(dims), expert_count: 6, expert_used_count: 2 }) },
  ],
});

const tiny = (dims: 64 | 256) => ({
  ...tinyTransformer(dims),
  "rope.dimension_count": 32,
});
