/**
 * Apertus: Llama's shape with every head of queries and keys normalized, and an FFN without a gate whose activation
 * has numbers of its own in every layer.
 * @source Swiss AI 2025, "Apertus: Democratizing Open and Compliant LLMs for Global Language Environments"
 */

import { defineArchitecture } from "../flow/architecture.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { plainFfn } from "../parts/plain-ffn.js";
import { embedTokens, rms, tinyTransformer, tokenHead, transformerConfig } from "../parts/transformer.js";

export const apertus = defineArchitecture({
  name: "apertus",
  families: "Apertus 8B, 70B",
  config(m) {
    const common = transformerConfig(m, { ffn: "dense" });
    return { ...common, rope: readRope(m, common.headDim), curves: readCurves(m, common.layers) };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      part: gqa({ ...c, ropeDivisors: "rope_freqs", qkNorm: "head", qkvBias: "optional", outputBias: "optional" }),
    },
    {
      site: "ffn",
      before: rms("ffn_norm", c),
      part: plainFfn({ dim: c.dim, hidden: c.hidden, act: c.curves[i]! }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "rope-pairs", "qk-norm"],
  tiny: [
    {
      variant: "dense",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        "rope.dimension_count": 32,
        block_count: 4,
        "/xielu.alpha_p": [0.8, 0.4, -0.3, 0.6],
        "/xielu.alpha_n": [0.7, -0.5, 0.2, 0.4],
        "/xielu.beta": [0.5, 0.45, 0.55, 0.5],
        "/xielu.eps": [-1e-6, -1e-5, -1e-3, -1e-6],
      }),
      optionalTensors: ["rope_freqs.weight"],
    },
  ],
});

const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/** The keys stand without the architecture's name; the two alphas go through a softplus. */
function readCurves(m: MetadataReader, layers: number) {
  const numbers = (key: string) => m.floats(`/xielu.${key}`, layers);
  const [positive, negative, linear] = [numbers("alpha_p"), numbers("alpha_n"), numbers("beta")];
  return numbers("eps").map((limit, i) => {
    if (limit > 0) m.fault(`metadata 'xielu.eps' is ${limit} in layer ${i}, expected at most 0`);
    return {
      positive: softplus(positive[i]!),
      negative: linear[i]! + softplus(negative[i]!),
      linear: linear[i]!,
      limit: Math.min(limit, 0),
    };
  });
}
