/**
 * ModernBERT: LayerNorms without bias before the parts (the first layer has none), GeGLU in one matrix; one layer of
 * three sees the whole text, the others a window to both sides with a RoPE base of their own.
 * @source Warner et al. 2024, "Smarter, Better, Faster, Longer" (ModernBERT)
 */

import { defineArchitecture } from "../flow/architecture.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { plain } from "../flow/residual.js";
import { readRope } from "../flow/rope.js";
import { bothSides, embedNormed, encoderConfig, fusedFfn, layerNorm, plainly, tinyEncoder } from "../parts/encoder.js";
import { windowedLayers } from "../parts/transformer.js";
import { vectorsEnd } from "../parts/vectors.js";

/** Every so many layers, the first of them, one sees everything. */
const defaultPeriod = 3;

/** Some descendants (Granite Embedding 97m R2) have SwiGLU. */
function activation(m: MetadataReader): "silu" | "gelu-tanh" {
  const key = "hidden_activation";
  const named = m.string(key, "gelu");
  if (["silu", "swish", "swiglu"].includes(named)) return "silu";
  if (!named.startsWith("ge"))
    m.fault(`metadata '${m.arch}.${key}' is '${named.slice(0, 40)}'; gelu and silu are supported`);
  return "gelu-tanh";
}

export const modernBert = defineArchitecture({
  name: "modern-bert",
  families: "ModernBERT, Granite Embedding R2, GTE ModernBERT, their rerankers",
  makes: "vectors",
  config(m) {
    const common = encoderConfig(m);
    const rope = readRope(m, common.headDim);
    const window = m.uint("attention.sliding_window", { min: 0, default: 0 });
    if (window === 1) m.fault(`metadata '${m.arch}.attention.sliding_window' is 1: a row would see itself alone`);
    const windowed = windowedLayers(m, defaultPeriod, "first");
    const localRope = { ...rope, base: m.float("rope.freq_base_swa", { default: 10_000, above: 0 }) };
    return { ...common, window, windowed, rope, localRope, act: activation(m) };
  },
  begin: (f, c) => plain(embedNormed(f, c, { normBias: "none" })),
  layer(c, i) {
    const local = c.window > 0 && c.windowed(i);
    const norm = layerNorm("attn_norm", c, "none");
    return [
      {
        site: "mixer",
        before: i === 0 ? (f, x) => (f.has("attn_norm.weight") ? norm(f, x) : plainly(f, x)) : norm,
        part: bothSides({
          ...c,
          rope: local ? c.localRope : c.rope,
          reach: local ? Math.floor(c.window / 2) : 0,
        }),
      },
      {
        site: "ffn",
        before: layerNorm("ffn_norm", c, "none"),
        part: fusedFfn({ dim: c.dim, hidden: c.hidden, act: c.act }),
      },
    ];
  },
  end: (f, x, c) =>
    vectorsEnd(f, layerNorm("output_norm", c, "none")(f, x.read(f, "end")), c, { ranked: "mean", act: "gelu-tanh" }),
  mechanisms: ["rope", "window", "both-sides"],
  tiny: [
    {
      variant: "mean",
      metadata: (dims) => tinyModern(dims, 1),
      optionalTensors: ["attn_qkv.weight"],
    },
    {
      variant: "reranker",
      metadata: (dims) => ({ ...tinyModern(dims, 4), hidden_activation: "silu" }),
      optionalTensors: ["attn_qkv.weight", "cls.weight", "cls.norm.weight", "cls.output.weight", "cls.output.bias"],
    },
  ],
});

const tinyModern = (dims: 64 | 256, pooling: number) => ({
  ...tinyEncoder(dims, pooling),
  block_count: 4,
  "attention.sliding_window": 16,
  "attention.sliding_window_pattern": 3,
  "rope.freq_base": 160000,
  "rope.freq_base_swa": 10000,
});
