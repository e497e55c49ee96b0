/** Shapes of well-known models, from their published config.json; weights are made up, shapes are not. */

import type { Mix } from "../compress/mix.js";
import { HundredweightError } from "../errors.js";
import type { TinyMetadata } from "../models/flow/architecture.js";

/** Frequencies of slow pairs divided for long contexts.  @source Llama 3.1 model card, rope_scaling "llama3" */
export interface RopeDivisors {
  readonly factor: number;
  readonly lowFrequency: number;
  readonly highFrequency: number;
  readonly originalTokens: number;
}

export interface SynthShape {
  readonly arch: string;
  readonly layers: number;
  readonly dim: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of the dense FFN; of a model whose layers are all MoE only a number in its metadata. */
  readonly hidden: number;
  /** 0 for a dense model. */
  readonly experts: number;
  readonly topK: number;
  readonly expertHidden: number;
  readonly vocab: number;
  readonly contextTokens: number;
  readonly eps: number;
  readonly ropeBase: number;
  /** The head is the token embedding. */
  readonly tied: boolean;
  /** Pre-tokenizer of the vocabulary. */
  readonly pre: string;
  /** The mix it is usually met in. */
  readonly quant: Mix;
  readonly ropeDivisors?: RopeDivisors;
  /** Metadata that only this architecture has, without its prefix. */
  readonly extra?: TinyMetadata;
}

const dense = { experts: 0, topK: 0, expertHidden: 0, tied: false, quant: "Q4_K_M" } as const;

const llama3 = {
  ...dense,
  arch: "llama",
  vocab: 128256,
  contextTokens: 131072,
  eps: 1e-5,
  ropeBase: 500000,
  pre: "llama-bpe",
  ropeDivisors: { factor: 8, lowFrequency: 1, highFrequency: 4, originalTokens: 8192 },
} as const;

const qwen3 = { ...dense, arch: "qwen3", contextTokens: 40960, eps: 1e-6, ropeBase: 1e6, pre: "qwen2" } as const;

const gptOss = {
  arch: "gpt-oss",
  dim: 2880,
  heads: 64,
  kvHeads: 8,
  headDim: 64,
  hidden: 2880,
  topK: 4,
  expertHidden: 2880,
  vocab: 201088,
  contextTokens: 131072,
  eps: 1e-5,
  ropeBase: 150000,
  tied: false,
  pre: "gpt-4o",
  quant: "MXFP4_MOE",
  extra: {
    "attention.sliding_window": 128,
    "rope.scaling.type": "yarn",
    "rope.scaling.factor": 32,
    "rope.scaling.original_context_length": 4096,
  },
} as const;

/** @source config.json of each model on its Hugging Face card */
export const presets: Readonly<Record<string, SynthShape>> = {
  // Llama-3.2-1B divides its slow frequencies by 32, the 3.1 models by 8.
  "llama-1b": {
    ...llama3,
    layers: 16,
    dim: 2048,
    heads: 32,
    kvHeads: 8,
    headDim: 64,
    hidden: 8192,
    tied: true,
    ropeDivisors: { ...llama3.ropeDivisors, factor: 32 },
  },
  "llama-3-8b": { ...llama3, layers: 32, dim: 4096, heads: 32, kvHeads: 8, headDim: 128, hidden: 14336 },
  "llama-70b": { ...llama3, layers: 80, dim: 8192, heads: 64, kvHeads: 8, headDim: 128, hidden: 28672 },
  // Its tokenizer is a SentencePiece one of the same size.
  "mistral-large-123b": {
    ...dense,
    arch: "llama",
    layers: 88,
    dim: 12288,
    heads: 96,
    kvHeads: 8,
    headDim: 128,
    hidden: 28672,
    vocab: 32768,
    contextTokens: 131072,
    eps: 1e-5,
    ropeBase: 1e6,
    pre: "gpt-2",
  },
  "qwen2.5-32b": {
    ...dense,
    arch: "qwen2",
    layers: 64,
    dim: 5120,
    heads: 40,
    kvHeads: 8,
    headDim: 128,
    hidden: 27648,
    vocab: 152064,
    contextTokens: 32768,
    eps: 1e-6,
    ropeBase: 1e6,
    pre: "qwen2",
  },
  "qwen3-8b": { ...qwen3, layers: 36, dim: 4096, heads: 32, kvHeads: 8, headDim: 128, hidden: 12288, vocab: 151936 },
  "qwen3-30b-a3b": {
    ...qwen3,
    arch: "qwen3moe",
    layers: 48,
    dim: 2048,
    heads: 32,
    kvHeads: 4,
    headDim: 128,
    hidden: 6144,
    experts: 128,
    topK: 8,
    expertHidden: 768,
    vocab: 151936,
  },
  // Without the dense first layer, the shared expert and the extra prediction layer of the original.
  "glm-4.5-air-like": {
    ...qwen3,
    arch: "qwen3moe",
    layers: 46,
    dim: 4096,
    heads: 96,
    kvHeads: 8,
    headDim: 128,
    hidden: 10944,
    experts: 128,
    topK: 8,
    expertHidden: 1408,
    vocab: 151552,
    contextTokens: 131072,
    eps: 1e-5,
  },
  "gpt-oss-20b": { ...gptOss, layers: 24, experts: 32 },
  "gpt-oss-120b": { ...gptOss, layers: 36, experts: 128 },
  // A SentencePiece tokenizer in the original.
  "gemma-3-4b": {
    ...dense,
    arch: "gemma3",
    layers: 34,
    dim: 2560,
    heads: 8,
    kvHeads: 4,
    headDim: 256,
    hidden: 10240,
    vocab: 262144,
    contextTokens: 131072,
    eps: 1e-6,
    ropeBase: 1e6,
    tied: true,
    pre: "gpt-2",
    extra: { "attention.sliding_window": 1024, "rope.scaling.type": "linear", "rope.scaling.factor": 8 },
  },
};

/** Fields a specification may replace: its name there -> the field. */
export const overrides = {
  layers: "layers",
  dim: "dim",
  hidden: "hidden",
  heads: "heads",
  "kv-heads": "kvHeads",
  "head-dim": "headDim",
  vocab: "vocab",
  experts: "experts",
  "top-k": "topK",
  "expert-hidden": "expertHidden",
  context: "contextTokens",
} as const satisfies Record<string, keyof SynthShape>;
export type OverrideName = keyof typeof overrides;
export type Overrides = Partial<Record<OverrideName, number>>;

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
  const given: Overrides = {};
  for (const change of changes) {
    const [name = "", value = ""] = change.split("=");
    if (!isOverride(name) || !/^\d{1,9}$/.test(value))
      throw new HundredweightError(
        "OPTION_INVALID",
        `'${change}' is not name=number with a name of ${Object.keys(overrides).join(", ")}`,
      );
    given[name] = Number(value);
  }
  return { name: base, shape: withOverrides(entry[1], given) };
}

function isOverride(name: string): name is OverrideName {
  return Object.hasOwn(overrides, name);
}

export function withOverrides(shape: SynthShape, given: Overrides): SynthShape {
  const changed = Object.entries(given).map(([name, value]) => [overrides[name as OverrideName], value]);
  return { ...shape, ...Object.fromEntries(changed) };
}
