/**
 * Jina's BERTs. v2: scores fall with the distance (ALiBi), perhaps norms of Q and K, and an FFN that is gated, gated
 * in one matrix or plain. v3: XLM-RoBERTa with RoPE.
 * @source Guenther et al. 2023, "Jina Embeddings 2"; Sturua et al. 2024, "jina-embeddings-v3"
 */

import { defineArchitecture } from "../flow/architecture.js";
import type { Part } from "../flow/flow.js";
import { readRope } from "../flow/rope.js";
import {
  bothSides,
  type EncoderConfig,
  embedNormed,
  encoderConfig,
  fusedFfn,
  plainFfn,
  plainly,
  postNorm,
  tinyEncoder,
} from "../parts/encoder.js";
import { vectorsEnd } from "../parts/vectors.js";

interface JinaConfig extends EncoderConfig {
  readonly tokenTypes: number;
  /** Rows of the FFN's first matrix: twice its width where it holds the gate as well. */
  readonly upRows: number;
}

/** The file says by its tensors which kind it is. */
const ffn =
  (c: JinaConfig): Part =>
  (f, x) => {
    const { dim, hidden } = c;
    if (f.has("ffn_gate.weight")) {
      const matrix = (name: string, bias: "required" | "optional" | "none", cols = dim, rows = hidden) =>
        f.matrix(`ffn_${name}`, cols, rows, "ffn", { gain: 1.1, bias });
      const [gate, up] = f.linear(x, matrix("gate", "none"), matrix("up", "optional"));
      return f.linear(f.glu(gate!, up!, "gelu-tanh"), matrix("down", "required", hidden, dim))[0]!;
    }
    if (c.upRows === 2 * hidden)
      return fusedFfn({ dim, hidden, act: "gelu-tanh", upBias: "optional", downBias: "required" })(f, x);
    return plainFfn({ dim, hidden, bias: "optional" })(f, x);
  };

const biased = ["attn_q.bias", "attn_k.bias", "attn_v.bias", "attn_output.bias"];

export const jinaBertV2 = defineArchitecture<JinaConfig>({
  name: "jina-bert-v2",
  families: "Jina Embeddings v2 (en, de, es, zh, code), Jina Reranker v1",
  makes: "vectors",
  config(m) {
    const common = encoderConfig(m);
    const upRows = m.rowsOf("blk.0.ffn_up.weight") ?? common.hidden;
    return { ...common, tokenTypes: m.tokenTypes(), upRows };
  },
  begin: (f, c) => postNorm(embedNormed(f, c, { tokenTypes: c.tokenTypes }), c),
  layer: (c) => [
    {
      site: "mixer",
      before: plainly,
      part: bothSides({ ...c, alibi: 8, wholeNorm: true, bias: "optional", outputBias: "required" }),
    },
    { site: "ffn", before: plainly, part: ffn(c) },
  ],
  end: (f, x, c) => vectorsEnd(f, x.read(f, "end"), c, { hidden: 1 }),
  mechanisms: ["alibi", "token-types", "both-sides"],
  tiny: [
    {
      variant: "gated",
      metadata: (dims) => tinyEncoder(dims, 1),
      optionalTensors: ["token_types.weight", "ffn_gate.weight", ...biased],
    },
    {
      variant: "one-matrix",
      metadata: (dims) => tinyEncoder(dims, 1),
      optionalTensors: [
        "token_types.weight",
        ...["attn_q_norm", "attn_k_norm", "attn_norm_2"].flatMap((name) => [`${name}.weight`, `${name}.bias`]),
        ...biased,
      ],
      shapes: (dims) => ({ "blk.0.ffn_up.weight": [dims, 4 * dims] }),
    },
    {
      variant: "reranker",
      metadata: (dims) => tinyEncoder(dims, 4),
      optionalTensors: ["token_types.weight", "cls.weight", "cls.bias", "ffn_up.bias", "ffn_down.bias", ...biased],
    },
  ],
});

export const jinaBertV3 = defineArchitecture({
  name: "jina-bert-v3",
  families: "Jina Embeddings v3 (with one of its adapters merged)",
  makes: "vectors",
  config(m) {
    const common = encoderConfig(m);
    return { ...common, tokenTypes: m.tokenTypes(), rope: readRope(m, common.headDim) };
  },
  begin: (f, c) => postNorm(embedNormed(f, c, { tokenTypes: c.tokenTypes }), c),
  layer: (c) => [
    { site: "mixer", before: plainly, part: bothSides({ ...c, bias: "optional", outputBias: "optional" }) },
    { site: "ffn", before: plainly, part: plainFfn({ ...c, bias: "optional" }) },
  ],
  end: (f, x, c) => vectorsEnd(f, x.read(f, "end"), c),
  mechanisms: ["rope", "token-types", "both-sides"],
  tiny: [
    {
      variant: "mean",
      metadata: (dims) => ({ ...tinyEncoder(dims, 1), "rope.freq_base": 20000 }),
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
