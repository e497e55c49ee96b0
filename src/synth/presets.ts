/** Shapes of well-known models, from their published config.json; weights are made up, shapes are not. */

import { HundredweightError } from "../errors.js";
import type { TinyMetadata } from "../models/flow/architecture.js";
import { experts } from "./preset-experts.js";
import { hybrids } from "./preset-hybrids.js";
import { latents } from "./preset-latent.js";
import { attention, quantized } from "./preset-parts.js";
import { type Overrides, type SynthShape, withOverrides } from "./shape.js";

const llama3 = (metadata: TinyMetadata, factor = 8): SynthShape => ({
  ...quantized,
  arch: "llama",
  metadata: {
    context_length: 131072,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 500000,
    ...metadata,
  },
  vocab: 128256,
  pre: "llama-bpe",
  ropeDivisors: { factor, lowFrequency: 1, highFrequency: 4, originalTokens: 8192 },
});

// Its tokenizer is a SentencePiece one of the same size.
const mistralLarge: SynthShape = {
  ...quantized,
  arch: "llama",
  metadata: {
    block_count: 88,
    context_length: 131072,
    embedding_length: 12288,
    feed_forward_length: 28672,
    ...attention(96, 8, 128),
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 1e6,
  },
  vocab: 32768,
  pre: "gpt-2",
};

/** @source config.json of each model on its Hugging Face card */
export const presets: Readonly<Record<string, SynthShape>> = {
  // Llama-3.2-1B divides its slow frequencies by 32, the 3.1 models by 8.
  "llama-1b": {
    ...llama3({ block_count: 16, embedding_length: 2048, feed_forward_length: 8192, ...attention(32, 8, 64) }, 32),
    tied: true,
  },
  "llama-3-8b": llama3({
    block_count: 32,
    embedding_length: 4096,
    feed_forward_length: 14336,
    ...attention(32, 8, 128),
  }),
  "llama-70b": llama3({
    block_count: 80,
    embedding_length: 8192,
    feed_forward_length: 28672,
    ...attention(64, 8, 128),
  }),
  "mistral-large": mistralLarge,
  "mistral-large-123b": mistralLarge,
  "qwen2.5-32b": {
    ...quantized,
    arch: "qwen2",
    metadata: {
      block_count: 64,
      context_length: 32768,
      embedding_length: 5120,
      feed_forward_length: 27648,
      ...attention(40, 8, 128),
      "attention.layer_norm_rms_epsilon": 1e-6,
      "rope.freq_base": 1e6,
    },
    vocab: 152064,
    pre: "qwen2",
  },
  "qwen3-8b": {
    ...quantized,
    arch: "qwen3",
    metadata: {
      block_count: 36,
      context_length: 40960,
      embedding_length: 4096,
      feed_forward_length: 12288,
      ...attention(32, 8, 128),
      "attention.layer_norm_rms_epsilon": 1e-6,
      "rope.freq_base": 1e6,
    },
    vocab: 151936,
    pre: "qwen2",
  },
  // A SentencePiece tokenizer in the original.
  "gemma-3-4b": {
    ...quantized,
    arch: "gemma3",
    metadata: {
      block_count: 34,
      context_length: 131072,
      embedding_length: 2560,
      feed_forward_length: 10240,
      ...attention(8, 4, 256),
      "attention.layer_norm_rms_epsilon": 1e-6,
      "attention.sliding_window": 1024,
      "rope.freq_base": 1e6,
      "rope.scaling.type": "linear",
      "rope.scaling.factor": 8,
    },
    vocab: 262144,
    tied: true,
    pre: "gpt-2",
  },
  "command-a": {
    ...quantized,
    arch: "cohere2",
    metadata: {
      block_count: 64,
      context_length: 131072,
      embedding_length: 12288,
      feed_forward_length: 36864,
      ...attention(96, 8, 128),
      "attention.layer_norm_epsilon": 1e-5,
      "attention.sliding_window": 4096,
      "rope.freq_base": 50000,
      logit_scale: 0.25,
    },
    vocab: 256000,
    tied: true,
    pre: "command-r",
  },
  ...experts,
  ...hybrids,
  ...latents,
};

/**
 * `PRESET` or `ARCHITECTURE` (its first preset), then `,name=value` for each number to replace.
 * @throws OPTION_INVALID
 */
export function parseSpec(text: string): { name: string; shape: SynthShape } {
  const [base = "", ...changes] = text.split(",").map((part) => part.trim());
  const entry = Object.entries(presets).find(([name, shape]) => name === base || shape.arch === base);
  if (entry === undefined)
    throw new HundredweightError(
      "OPTION_INVALID",
      `'${base}' is neither a preset (${Object.keys(presets).join(", ")}) nor an architecture`,
    );
  const given: Record<string, number> = {};
  for (const change of changes) {
    const [, name, value] = /^([^=]+)=(\d{1,9})$/.exec(change) ?? [];
    if (name === undefined) throw new HundredweightError("OPTION_INVALID", `'${change}' is not name=number`);
    given[name] = Number(value);
  }
  return { name: base, shape: withOverrides(entry[1], given satisfies Overrides) };
}
