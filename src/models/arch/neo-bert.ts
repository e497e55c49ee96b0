/**
 * NeoBERT: RMSNorms before the parts, RoPE of neighbouring pairs, SwiGLU in one matrix, no biases.
 * @source Le Breton et al. 2025, "NeoBERT: A Next-Generation BERT"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { bothSides, encoderConfig, fusedFfn, tinyEncoder } from "../parts/encoder.js";
import { embedTokens, rms } from "../parts/transformer.js";
import { vectorsEnd } from "../parts/vectors.js";

const epsilon = "attention.layer_norm_rms_epsilon";

export const neoBert = defineArchitecture({
  name: "neo-bert",
  families: "NeoBERT",
  makes: "vectors",
  ggufPairs: "neighbours",
  config(m) {
    const common = encoderConfig(m, "rms");
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    { site: "mixer", before: rms("attn_norm", c), part: bothSides(c) },
    { site: "ffn", before: rms("ffn_norm", c), part: fusedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }) },
  ],
  end: (f, x, c) => vectorsEnd(f, rms("enc.output_norm", c)(f, x.read(f, "end")), c),
  mechanisms: ["rope", "both-sides"],
  tiny: [
    {
      variant: "cls",
      metadata: (dims) => tinyEncoder(dims, 2, epsilon),
      optionalTensors: ["attn_qkv.weight"],
    },
    {
      variant: "reranker",
      metadata: (dims) => tinyEncoder(dims, 4, epsilon),
      optionalTensors: ["attn_qkv.weight", "cls.weight", "cls.bias", "cls.output.weight", "cls.output.bias"],
    },
  ],
});
