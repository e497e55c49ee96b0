/**
 * BERT: learned positions, norms behind every sum, GELU, biases; texts are of the first token type. XLM-RoBERTa is
 * the same with another vocabulary.
 * @source Devlin et al. 2018, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { bothSides, embedNormed, encoderConfig, plainFfn, plainly, postNorm, tinyEncoder } from "../parts/encoder.js";
import { vectorsEnd } from "../parts/vectors.js";

const biased = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"].map((name) => `${name}.bias`);

export const bert = defineArchitecture({
  name: "bert",
  families:
    "BERT, MiniLM, BGE, E5, GTE, mxbai-embed, Snowflake Arctic; XLM-RoBERTa: BGE-M3, multilingual E5, their rerankers",
  makes: "vectors",
  config: (m) => ({ ...encoderConfig(m), tokenTypes: m.tokenTypes() }),
  begin: (f, c) => postNorm(embedNormed(f, c, { positions: true, tokenTypes: c.tokenTypes }), c),
  layer: (c) => [
    { site: "mixer", before: plainly, part: bothSides({ ...c, bias: "optional", outputBias: "optional" }) },
    { site: "ffn", before: plainly, part: plainFfn({ ...c, bias: "optional" }) },
  ],
  end: (f, x, c) => vectorsEnd(f, x.read(f, "end"), c),
  mechanisms: ["positions", "token-types", "both-sides"],
  tiny: [
    {
      variant: "mean",
      metadata: (dims) => tinyEncoder(dims, 1),
      optionalTensors: ["token_types.weight", ...biased],
    },
    {
      variant: "cls",
      metadata: (dims) => tinyEncoder(dims, 2),
      optionalTensors: ["attn_qkv.weight", "attn_qkv.bias", "token_types.weight", ...biased],
    },
    {
      variant: "reranker",
      metadata: (dims) => tinyEncoder(dims, 4),
      optionalTensors: [
        "token_types.weight",
        "cls.weight",
        "cls.bias",
        "cls.output.weight",
        "cls.output.bias",
        ...biased,
      ],
    },
  ],
});
