/**
 * gpt-oss (20b, 120b): every layer MoE with biases, softmax over the chosen experts only, attention sinks, every other
 * layer windowed, YaRN, clamped SwiGLU. Its pre-FFN norm is named post_attention_norm.
 * @source OpenAI 2025, "gpt-oss-120b & gpt-oss-20b Model Card"
 */

import { defineArchitecture } from "../flow/architecture.js";
import { readRope } from "../flow/rope.js";
import { gqa } from "../parts/gqa.js";
import { moe } from "../parts/moe.js";
import {
  embedTokens,
  rms,
  tinyTransformer,
  tokenHead,
  transformerConfig,
  windowedLayers,
} from "../parts/transformer.js";

export const gptOss = defineArchitecture({
  name: "gpt-oss",
  families: "gpt-oss-20b, gpt-oss-120b",
  config(m) {
    const common = transformerConfig(m, { ffn: "experts" });
    return {
      ...common,
      window: m.uint("attention.sliding_window"),
      windowed: windowedLayers(m, 2),
      rope: readRope(m, common.headDim),
    };
  },
  begin: (f, c) => embedTokens(f, c),
  layer: (c, i) => [
    {
      site: "mixer",
      before: rms("attn_norm", c),
      part: gqa({
        ...c,
        window: c.windowed(i) ? c.window : 0,
        qkvBias: "required",
        outputBias: "required",
        sinks: true,
      }),
    },
    {
      site: "ffn",
      before: rms("post_attention_norm", c),
      part: moe({
        ...c,
        hidden: c.expertHidden,
        act: "oai",
        score: "softmax-selected",
        renormalize: false,
        biases: true,
      }),
    },
  ],
  end: (f, x, c) => tokenHead(f, x, c),
  mechanisms: ["rope", "window", "sinks", "router-norm"],
  tiny: [
    {
      variant: "moe",
      metadata: (dims) => ({
        ...tinyTransformer(dims),
        feed_forward_length: dims,
        expert_feed_forward_length: dims,
        expert_count: 8,
        expert_used_count: 3,
        block_count: 4,
        "attention.sliding_window": 16,
        "rope.freq_base": 150000,
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4,
        "rope.scaling.original_context_length": 256,
      }),
    },
  ],
});
