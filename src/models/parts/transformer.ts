/** The hyper-parameters that every transformer decoder has, read under their GGUF names. */
import type { MetadataReader } from "../metadata-reader.js";
import type { ModelConfig, TinyMetadata } from "../spec.js";

/**
 * Bounds are far above any real model and small enough that nothing sized by them is dangerous.
 * `experts`, `topK`, `expertHidden` are 0 for a dense model.
 */
export function transformerConfig(m: MetadataReader): ModelConfig {
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
    eps: m.float("attention.layer_norm_rms_epsilon", { above: 0 }),
    experts,
    topK,
    expertHidden,
    window: 0,
  };
}

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
