/**
 * Nomic BERT: BERT with RoPE instead of learned positions and a gated FFN; the MoE one has plain GELU, in every
 * second layer in experts without a gate.
 * @source Nussbaum et al. 2024, "Nomic Embed"; Nussbaum & Duderstadt 2025, "Training Sparse Mixture Of Experts Text
 * Embedding Models"
 */

import { type Branch, defineArchitecture } from "../flow/architecture.js";
import type { Part } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { type RopeConfig, readRope } from "../flow/rope.js";
import {
  bothSides,
  type EncoderConfig,
  embedNormed,
  encoderConfig,
  plainFfn,
  plainly,
  postNorm,
  tinyEncoder,
} from "../parts/encoder.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { vectorsEnd } from "../parts/vectors.js";

interface NomicConfig extends EncoderConfig {
  readonly tokenTypes: number;
  readonly rope: RopeConfig;
  /** Every so many layers, from the second on, are MoE; 0: none. */
  readonly moeEvery: number;
  readonly weightScale: number;
}

function nomicConfig(m: MetadataReader): NomicConfig {
  const common = encoderConfig(m);
  const moeEvery = m.uint("moe_every_n_layers", { min: 0, max: 4096, default: 0 });
  if (moeEvery > 0 && common.experts === 0) m.fault(`metadata '${m.arch}.expert_count' is missing`);
  const weightScale = m.float("expert_weights_scale", { default: 1 });
  return { ...common, tokenTypes: m.tokenTypes(), rope: readRope(m, common.headDim), moeEvery, weightScale };
}

/** Softmax over all experts, of which the chosen keep their weights as they are. */
const plainExperts =
  (c: NomicConfig): Part =>
  (f, x) => {
    const scores = f.linear(x, f.matrix("ffn_gate_inp", c.dim, c.experts, "router"))[0]!;
    const spec = { topK: c.topK, score: "softmax", renormalize: false, scale: c.weightScale || 1 } as const;
    return f.experts(f.route(scores, spec), x, (f, x) => {
      const up = f.linear(x, f.matrix("ffn_up_exps", c.dim, c.hidden, "expert", { gain: 1.4 }))[0]!;
      return f.linear(f.act(up, "gelu-tanh"), f.matrix("ffn_down_exps", c.hidden, c.dim, "expert", { gain: 2.8 }))[0]!;
    });
  };

const mixer = (c: NomicConfig): Branch => ({
  site: "mixer",
  before: plainly,
  part: bothSides({ ...c, bias: "optional", outputBias: "optional" }),
});

export const nomicBert = defineArchitecture<NomicConfig>({
  name: "nomic-bert",
  families: "Nomic Embed Text v1, v1.5",
  makes: "vectors",
  config: nomicConfig,
  begin: (f, c) => postNorm(embedNormed(f, c, { tokenTypes: c.tokenTypes }), c),
  layer: (c) => [
    mixer(c),
    { site: "ffn", before: plainly, part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }) },
  ],
  end: (f, x, c) => vectorsEnd(f, x.read(f, "end"), c),
  mechanisms: ["rope", "token-types", "both-sides"],
  tiny: [
    {
      variant: "dense",
      metadata: (dims) => tinyEncoder(dims, 1),
      optionalTensors: ["attn_qkv.weight", "token_types.weight"],
    },
  ],
});

export const nomicBertMoe = defineArchitecture<NomicConfig>({
  name: "nomic-bert-moe",
  families: "Nomic Embed Text v2 MoE",
  makes: "vectors",
  config: nomicConfig,
  begin: (f, c) => postNorm(embedNormed(f, c, { tokenTypes: c.tokenTypes }), c),
  layer: (c, i) => [
    mixer(c),
    {
      site: "ffn",
      before: plainly,
      part: c.moeEvery > 0 && i % c.moeEvery === 1 ? plainExperts(c) : plainFfn({ ...c, bias: "optional" }),
    },
  ],
  end: (f, x, c) => vectorsEnd(f, x.read(f, "end"), c),
  mechanisms: ["rope", "token-types", "both-sides"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyEncoder(dims, 1),
        expert_count: 4,
        expert_used_count: 2,
        moe_every_n_layers: 2,
      }),
      optionalTensors: [
        "attn_qkv.weight",
        "attn_qkv.bias",
        "attn_output.bias",
        "token_types.weight",
        "ffn_up.bias",
        "ffn_down.bias",
      ],
    },
  ],
});
