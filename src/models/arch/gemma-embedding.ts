/**
 * EmbeddingGemma: Gemma 3 whose rows see both sides, windowed layers so many of them; two products behind the mean
 * make the vector.
 * @source Schechter Vera et al. 2025, "EmbeddingGemma"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { tinyEncoder } from "../parts/encoder.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { gqa } from "../parts/gqa.js";
import { embedTokens, rms, rmsAfter, transformerConfig, windowedLayers } from "../parts/transformer.js";
import { vectorConfig, vectorsEnd } from "../parts/vectors.js";

const epsilon = "attention.layer_norm_rms_epsilon";

export const gemmaEmbedding = defineArchitecture({
  name: "gemma-embedding",
  families: "EmbeddingGemma 300M",
  makes: "vectors",
  config(m) {
    const common = transformerConfig(m);
    const rope = readRope(m, common.headDim);
    const window = m.uint("attention.sliding_window", { min: 0, default: 0 });
    if (window === 1) m.fault(`metadata '${m.arch}.attention.sliding_window' is 1: a row would see itself alone`);
    const wide = m.uint("dense_2_feat_out", { min: 0, max: 2 ** 18, default: 0 });
    const narrow = m.uint("dense_3_feat_in", { min: 0, max: 2 ** 18, default: wide });
    if (wide !== narrow) m.fault(`'${m.arch}.dense_2_feat_out' is ${wide}, '${m.arch}.dense_3_feat_in' ${narrow}`);
    return {
      ...common,
      vectors: vectorConfig(m) ?? { pooling: "mean", labels: ["score"] },
      window,
      windowed: windowedLayers(m, 6),
      rope,
      localRope: {
        ...rope,
        base: m.float("rope.freq_base_swa", { default: 10_000, above: 0 }),
        scaling: { kind: "none" as const },
      },
      projected: wide,
    };
  },
  begin: (f, c) => embedTokens(f, c, { scale: Math.fround(Math.sqrt(c.dim)) }),
  layer(c, i) {
    const local = c.window > 0 && c.windowed(i);
    return [
      {
        site: "mixer",
        before: rms("attn_norm", c),
        part: gqa({
          ...c,
          rope: local ? c.localRope : c.rope,
          window: 0,
          reach: { symmetric: local ? Math.floor(c.window / 2) : 0 },
          qkNorm: "head",
        }),
        after: rmsAfter("post_attention_norm", c),
      },
      {
        site: "ffn",
        before: rms("ffn_norm", c),
        part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "gelu-tanh" }),
        after: rmsAfter("post_ffw_norm", c),
      },
    ];
  },
  end: (f, x, c) =>
    vectorsEnd(f, rms("output_norm", c)(f, x.read(f, "end")), c, {
      project(f, y) {
        if (c.projected === 0 || !f.has("dense_2.weight")) return y;
        const wide = f.linear(y, f.matrix("dense_2", c.dim, c.projected, "head"))[0]!;
        return f.linear(wide, f.matrix("dense_3", c.projected, c.dim, "head"))[0]!;
      },
    }),
  mechanisms: ["rope", "qk-norm", "window", "both-sides"],
  tiny: [
    {
      variant: "mean",
      metadata: (dims) => ({
        ...tinyEncoder(dims, 1, epsilon),
        block_count: 7,
        "attention.head_count": dims === 64 ? 4 : 8,
        "attention.head_count_kv": 1,
        "attention.sliding_window": 16,
        "rope.freq_base": 1e6,
        dense_2_feat_in: dims,
        dense_2_feat_out: 2 * dims,
        dense_3_feat_in: 2 * dims,
        dense_3_feat_out: dims,
      }),
      optionalTensors: ["dense_2.weight", "dense_3.weight"],
    },
  ],
});
