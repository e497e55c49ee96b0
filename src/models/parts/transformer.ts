/** Shared by transformer decoders: hyper-parameters under their GGUF names, norms, embedding and head. */
import type { ModelConfig, TinyMetadata } from "../flow/architecture.js";
import type { Outputs } from "../flow/calls.js";
import type { Flow, Part } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { plain, type Residual } from "../flow/residual.js";
import type { Bias } from "../flow/tensors.js";

export interface TransformerConfig extends ModelConfig {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of the dense FFN; 0 when every layer is MoE. */
  readonly hidden: number;
  readonly eps: number;
  /** Width of one expert; 0 without experts. */
  readonly expertHidden: number;
}

/**
 * Bounds are far above any real model and small enough that nothing sized by them is dangerous.
 * `experts`, `topK`, `expertHidden` are 0 for a dense model.
 */
export function transformerConfig(m: MetadataReader, epsilon = "attention.layer_norm_rms_epsilon"): TransformerConfig {
  const dim = m.uint("embedding_length", { max: 2 ** 18 });
  const heads = m.uint("attention.head_count", { max: 4096 });
  const kvHeads = m.uint("attention.head_count_kv", { max: 4096, default: heads });
  const headDim = m.uint("attention.key_length", { max: 4096, default: Math.max(1, Math.floor(dim / heads)) });
  const headDimV = m.uint("attention.value_length", { max: 4096, default: headDim });
  if (heads % kvHeads !== 0) m.fault(`${heads} heads cannot be shared among ${kvHeads} key/value heads`);
  if (headDimV !== headDim) m.fault(`value heads of ${headDimV} beside key heads of ${headDim} are not supported`);
  if (!m.has("attention.key_length") && dim % heads !== 0)
    m.fault(`width ${dim} is not a whole number of ${heads} heads`);
  const experts = m.uint("expert_count", { min: 0, max: 4096, default: 0 });
  const topK = experts === 0 ? 0 : m.uint("expert_used_count", { max: Math.min(experts, 64) });
  const hidden = m.uint("feed_forward_length", {
    min: experts > 0 ? 0 : 1,
    max: 2 ** 22,
    ...(experts > 0 && { default: 0 }),
  });
  const expertHidden = experts === 0 ? 0 : m.uint("expert_feed_forward_length", { max: 2 ** 22, default: hidden });
  if (experts > 0 && expertHidden === 0) m.fault(`metadata '${m.arch}.expert_feed_forward_length' is missing`);
  return {
    layers: m.uint("block_count", { max: 4096 }),
    dim,
    heads,
    kvHeads,
    headDim,
    hidden,
    vocab: m.vocab(),
    contextTokens: m.uint("context_length"),
    eps: m.float(epsilon, { above: 0 }),
    experts,
    topK,
    expertHidden,
    window: 0,
  };
}

type Width = Pick<TransformerConfig, "dim" | "eps">;

/** RMSNorm with a learned weight, before a part. */
export const rms =
  (name: string, { dim, eps }: Width): Part =>
  (f, x) =>
    f.norm(x, f.vector(name, dim, "norm"), eps);

/** After a part: a tied head favours the row's own token by sqrt(dim), so branches of a tiny model must grow alike to have a say. */
export const rmsAfter =
  (name: string, { dim, eps }: Width): Part =>
  (f, x) =>
    f.norm(x, f.vector(name, dim, "norm", { fill: [Math.sqrt(dim) / 5, Math.sqrt(dim) / 25] }), eps);

/** The residual stream begins with the rows of the token embedding. */
export function embedTokens(f: Flow, { dim, vocab }: ModelConfig, scale = 1): Residual {
  return plain(f.lookup(f.matrix("token_embd", dim, vocab, "embedding", { gain: Math.sqrt(dim) }), scale));
}

export interface HeadOptions {
  readonly bias?: Bias;
  /** logits = cap * tanh(logits / cap); 0 = none. */
  readonly softcap?: number;
}

/** Norm and head; the head is the token embedding when the file has none. */
export function tokenHead(f: Flow, x: Residual, c: Width & ModelConfig, o: HeadOptions = {}): Outputs {
  const hidden = rms("output_norm", c)(f, f.pick(x.read(f, "end")));
  // Logits of deviation 3.3: a distribution far from uniform.
  const options = { or: "token_embd", gain: 3.3, orGain: 2.5, bias: o.bias ?? "none" } as const;
  const logits = f.linear(hidden, f.matrix("output", c.dim, c.vocab, "head", options))[0]!;
  return { hidden, logits: o.softcap ? f.softcap(logits, o.softcap) : logits };
}

/** Local GGUF names -> names in a Hugging Face folder of the llama kind. */
export const llamaNames: Readonly<Record<string, string>> = {
  "token_embd.weight": "model.embed_tokens.weight",
  "output_norm.weight": "model.norm.weight",
  "output.weight": "lm_head.weight",
  "attn_norm.weight": "model.layers.N.input_layernorm.weight",
  "ffn_norm.weight": "model.layers.N.post_attention_layernorm.weight",
  ...Object.fromEntries(
    ["q", "k", "v"].flatMap((name) => [
      [`attn_${name}.weight`, `model.layers.N.self_attn.${name}_proj.weight`],
      [`attn_${name}.bias`, `model.layers.N.self_attn.${name}_proj.bias`],
      [`attn_${name}_norm.weight`, `model.layers.N.self_attn.${name}_norm.weight`],
    ]),
  ),
  "attn_output.weight": "model.layers.N.self_attn.o_proj.weight",
  "attn_output.bias": "model.layers.N.self_attn.o_proj.bias",
  ...Object.fromEntries(
    ["gate", "up", "down"].flatMap((name) => [
      [`ffn_${name}.weight`, `model.layers.N.mlp.${name}_proj.weight`],
      [`ffn_${name}.bias`, `model.layers.N.mlp.${name}_proj.bias`],
    ]),
  ),
};

/**
 * Which layers look back `window` positions only. The pattern is a period n (the last layer of each group of n is
 * full; 0 = every layer is windowed, 1 = none) or one flag for each layer.
 */
export function windowedLayers(m: MetadataReader, defaultPeriod: number): (layer: number) => boolean {
  const key = "attention.sliding_window_pattern";
  const flags = m.list(key);
  if (flags !== undefined) return (i) => (flags[i] ?? 0) !== 0;
  const period = m.uint(key, { min: 0, max: 4096, default: defaultPeriod });
  return (i) => period === 0 || i % period < period - 1;
}

/** Metadata of a tiny test model: heads of 32, two query heads or more to a key head, three layers. */
export function tinyTransformer(dims: 64 | 256): TinyMetadata {
  return {
    block_count: 3,
    context_length: 1024,
    embedding_length: dims,
    feed_forward_length: 2 * dims,
    "attention.head_count": dims === 64 ? 4 : 8,
    "attention.head_count_kv": 2,
    "attention.key_length": 32,
    "attention.value_length": 32,
    "attention.layer_norm_rms_epsilon": 1e-5,
    "rope.freq_base": 10000,
  };
}
