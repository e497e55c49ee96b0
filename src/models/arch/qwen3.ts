/**
 * Qwen3, dense: RMSNorm on every query and key head before RoPE, no attention bias, head size apart from the width.
 * As a reranker two rows of its head, those of "yes" and "no", become probabilities.
 * @source Yang et al. 2025, "Qwen3 Technical Report"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";
import { classify, vectorConfig } from "../parts/vectors.js";

export const qwen3 = defineArchitecture({
  name: "qwen3",
  families: "Qwen3 0.6B-32B, Qwen3 Embedding, Qwen3 Reranker",
  config(m) {
    const common = transformerConfig(m);
    const vectors = vectorConfig(m);
    return {
      ...common,
      rope: readRope(m, common.headDim),
      ...(vectors !== undefined && { vectors: { ...vectors, softmax: vectors.pooling === "rank" } }),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    { site: "mixer", before: rms("attn_norm", c), part: gqa({ ...c, qkNorm: "head" }) },
    { site: "ffn", before: rms("ffn_norm", c), part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }) },
  ],
  end(f, x, c) {
    const outputs = tokenHead(f, x, c);
    const { vectors } = c;
    if (vectors?.pooling !== "rank") return outputs;
    return { ...outputs, rank: classify(f, outputs.hidden!, { ...c, vectors }) };
  },
  mechanisms: ["rope", "qk-norm"],
  tiny: [
    {
      variant: "dense",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        "rope.freq_base": 1e6,
      }),
    },
    {
      variant: "reranker",
      tied: true,
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        "rope.freq_base": 1e6,
        pooling_type: 4,
        "classifier.output_labels": ["yes", "no"],
      }),
      optionalTensors: ["cls.output.weight"],
    },
  ],
});
