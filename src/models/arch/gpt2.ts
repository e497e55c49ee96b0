/**
 * GPT-2: a row of a table for every position, LayerNorm and biases everywhere, one matrix of queries, keys and values.
 * @source Radford et al. 2019, "Language Models are Unsupervised Multitask Learners"
 */
import { defineArchitecture } from "../flow/architecture.js";
import { gqa } from "../parts/gqa.js";
import { plainFfn } from "../parts/plain-ffn.js";
import { embedTokens, layerNorm, tinyLayerNorm, tokenHead, transformerConfig } from "../parts/transformer.js";

export const gpt2 = defineArchitecture({
  name: "gpt2",
  families: "GPT-2 124M-1.5B, Cerebras-GPT, DialoGPT",
  config(m) {
    const common = transformerConfig(m, { norm: "layer", ffn: "dense" });
    const asked = m.askedContextTokens ?? 0;
    if (asked > common.contextTokens)
      m.fault(
        `a context of ${asked} tokens was asked for, and the table of positions has ${common.contextTokens} rows`,
      );
    return common;
  },
  begin(f, c) {
    const stream = embedTokens(f, c);
    const table = f.matrix("position_embd", c.dim, c.contextTokens, "embedding", {
      gain: Math.sqrt(c.dim),
      floor: "f32",
    });
    stream.streams = [f.add(stream.streams[0]!, f.lookup(table, 1, "positions"))];
    return stream;
  },
  layer: (c) => [
    {
      site: "mixer",
      before: layerNorm("attn_norm", c),
      // One matrix, unless the container has taken it apart.
      part: (f, x) =>
        gqa({ ...c, rope: null, fused: !f.has("attn_q.weight"), qkvBias: "required", outputBias: "required" })(f, x),
    },
    {
      site: "ffn",
      before: layerNorm("ffn_norm", c),
      part: plainFfn({ dim: c.dim, hidden: c.hidden, act: "gelu-tanh", bias: "required" }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c, { norm: (size) => layerNorm("output_norm", c, "required", size) }),
  mechanisms: ["positions", "bias"],
  tiny: [
    {
      variant: "dense",
      tied: true,
      // Every query head has keys of its own.
      metadata: (dims) => ({
        ...tinyLayerNorm(dims),
        "attention.head_count": dims / 32,
        "attention.head_count_kv": dims / 32,
      }),
    },
  ],
});
