/**
 * EuroBERT: a llama whose rows see both sides.
 * @source Boizard et al. 2025, "EuroBERT: Scaling Multilingual Encoders for European Languages"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { bothSides, encoderConfig, tinyEncoder } from "../parts/encoder.js";
import { gatedFfn } from "../parts/gated-ffn.js";
import { embedTokens, rms } from "../parts/transformer.js";
import { vectorsEnd } from "../parts/vectors.js";

const epsilon = "attention.layer_norm_rms_epsilon";

export const eurobert = defineArchitecture({
  name: "eurobert",
  families: "EuroBERT 210M-2.1B",
  makes: "vectors",
  config(m) {
    const common = encoderConfig(m, "rms");
    return { ...common, rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c) => [
    { site: "mixer", before: rms("attn_norm", c), part: bothSides(c) },
    { site: "ffn", before: rms("ffn_norm", c), part: gatedFfn({ dim: c.dim, hidden: c.hidden, act: "silu" }) },
  ],
  end: (f, x, c) => vectorsEnd(f, rms("output_norm", c)(f, x.read(f, "end")), c),
  mechanisms: ["rope", "both-sides"],
  tiny: [{ variant: "mean", metadata: (dims) => ({ ...tinyEncoder(dims, 1, epsilon), "rope.freq_base": 250000 }) }],
});
