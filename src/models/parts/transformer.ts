/** Shared by transformer decoders: hyper-parameters under their GGUF names, norms, embedding and head. */
import type { ModelConfig, TinyMetadata } from "../flow/architecture.js";
import type { Outputs } from "../flow/calls.js";
import type { Flow, Part } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { type Residual, scaled } from "../flow/residual.js";
import type { Bias } from "../flow/tensors.js";

/** Hyper-parameters that do not depend on attention. */
export interface StreamConfig extends ModelConfig {
  /** Width of the dense FFN; 0 when every layer is MoE. */
  readonly hidden: number;
  readonly eps: number;
  /** Width of one expert; 0 without experts. */
  readonly expertHidden: number;
}

export interface TransformerConfig extends StreamConfig {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Options in which families differ before anything is read. */
export interface TransformerOptions {
  /** Families with LayerNorm have their epsilon under a key of its own. */
  readonly norm?: "rms" | "layer";
  /** Only layers of experts, only dense ones, or whichever the file says. */
  readonly ffn?: "experts" | "dense" | "either";
  /** Dense FFNs differ between layers; `hidden` is the widest. */
  readonly widths?: "layers";
}

/** The key of the norms' epsilon. */
const epsKey = { rms: "attention.layer_norm_rms_epsilon", layer: "attention.layer_norm_epsilon" } as const;

/**
 * Bounds are far above any real model and small enough that nothing sized by them is dangerous.
 * `experts`, `topK`, `expertHidden` are 0 for a dense model. Blocks behind the trunk's are left out of `layers`.
 */
export function streamConfig(m: MetadataReader, o: TransformerOptions = {}): StreamConfig {
  return {
    ...ffnConfig(m, o),
    layers: trunkLayers(m),
    dim: m.uint("embedding_length", { max: 2 ** 18 }),
    vocab: m.vocab(),
    contextTokens: m.uint("context_length"),
    eps: m.float(epsKey[o.norm ?? "rms"], { above: 0 }),
    window: 0,
  };
}

/** The same with heads that are alike in all layers. */
export function transformerConfig(m: MetadataReader, o: TransformerOptions = {}): TransformerConfig {
  const common = streamConfig(m, o);
  const { dim } = common;
  const heads = m.uint("attention.head_count", { max: 4096 });
  const kvHeads = m.uint("attention.head_count_kv", { max: 4096, default: heads });
  const { headDim, headDimV } = headWidths(m, dim, heads);
  checkHeads(m, heads, kvHeads);
  if (headDimV !== headDim) m.fault(`value heads of ${headDimV} beside key heads of ${headDim} are not supported`);
  return { ...common, heads, kvHeads, headDim };
}

export function headWidths(m: MetadataReader, dim: number, heads: number): { headDim: number; headDimV: number } {
  const headDim = m.uint("attention.key_length", { max: 4096, default: Math.max(1, Math.floor(dim / heads)) });
  if (!m.has("attention.key_length") && dim % heads !== 0)
    m.fault(`width ${dim} is not a whole number of ${heads} heads`);
  return { headDim, headDimV: m.uint("attention.value_length", { max: 4096, default: headDim }) };
}

/** Heads of queries and of keys where layers differ. */
export function layerHeads(m: MetadataReader, layers: number): { heads: number[]; kvHeads: number[] } {
  const heads = m.uints("attention.head_count", layers, { max: 4096 });
  const kvHeads = m.has("attention.head_count_kv")
    ? m.uints("attention.head_count_kv", layers, { max: 4096 })
    : heads.slice();
  for (const [i, count] of heads.entries()) checkHeads(m, count, kvHeads[i]!);
  return { heads, kvHeads };
}

/** Queries share keys and values in equal groups. */
export function checkHeads(m: MetadataReader, heads: number, kvHeads: number): void {
  if (heads % kvHeads !== 0) m.fault(`${heads} heads cannot be shared among ${kvHeads} key/value heads`);
}

/** Blocks of the trunk: those that guess further tokens are counted in `block_count`, and come last. */
export function trunkLayers(m: MetadataReader): number {
  const blocks = m.uint("block_count", { max: 4096 });
  const behind = m.uint("nextn_predict_layers", { min: 0, max: 4096, default: 0 });
  if (behind < blocks) return blocks - behind;
  m.fault(`'${m.arch}.nextn_predict_layers' is ${behind} of ${blocks} blocks`);
  return 1;
}

/** Widths of dense layers and experts. */
export function ffnConfig(
  m: MetadataReader,
  { ffn: kind = "either", widths }: TransformerOptions = {},
): Pick<TransformerConfig, "hidden" | "experts" | "topK" | "expertHidden"> {
  const experts = kind === "dense" ? 0 : m.uint("expert_count", { min: 0, max: 4096, default: 0 });
  if (experts === 0 && kind === "experts") m.fault(`metadata '${m.arch}.expert_count' is missing or 0`);
  const topK = experts === 0 ? 0 : m.uint("expert_used_count", { max: Math.min(experts, 64) });
  const bounds = { min: experts > 0 ? 0 : 1, max: 2 ** 22, ...(experts > 0 && { default: 0 }) };
  const key = "feed_forward_length";
  const hidden = widths === undefined ? m.uint(key, bounds) : Math.max(...m.uints(key, trunkLayers(m), bounds));
  const expertHidden = experts === 0 ? 0 : m.uint("expert_feed_forward_length", { max: 2 ** 22, default: hidden });
  if (experts > 0 && expertHidden === 0) m.fault(`metadata '${m.arch}.expert_feed_forward_length' is missing`);
  return { hidden, experts, topK, expertHidden };
}

type Width = Pick<TransformerConfig, "dim" | "eps">;

/** RMSNorm with a learned weight, before a part; `tinySize`: of a random model's weights. */
export const rms =
  (name: string, { dim, eps }: Width, tinySize = 1): Part =>
  (f, x) =>
    f.norm(x, f.vector(name, dim, "norm", { fill: [tinySize, tinySize / 5] }), eps);

/**
 * After a part: a tied head favours the row's own token by sqrt(dim), so branches of a tiny model must grow alike to
 * have a say.
 */
export const rmsAfter =
  (name: string, { dim, eps }: Width): Part =>
  (f, x) =>
    f.norm(x, f.vector(name, dim, "norm", { fill: [Math.sqrt(dim) / 5, Math.sqrt(dim) / 25] }), eps);

/** LayerNorm with a learned weight, and with a bias unless the family has none. */
export const layerNorm =
  (name: string, { dim, eps }: Width, bias: Bias = "required", tinySize = 1): Part =>
  (f, x) => {
    const shift = { suffix: "bias", fill: [0, 0.3] } as const;
    const optional = bias === "optional";
    const added = bias === "none" ? null : f.vector(name, dim, "norm", optional ? { ...shift, optional } : shift);
    return f.layerNorm(x, f.vector(name, dim, "norm", { fill: [tinySize, tinySize / 5] }), added, eps);
  };

/** A branch that reads the stream as it is. */
export const unnormed: Part = (_f, x) => x;

export interface EmbedOptions {
  readonly scale?: number;
  /** Multiplies what branches add to the stream. */
  readonly damping?: number;
  /** Root mean square of a random model's stream; by default `scale`. */
  readonly tinySize?: number;
}

/** The residual stream begins with the rows of the token embedding. */
export function embedTokens(f: Flow, { dim, vocab }: ModelConfig, o: EmbedOptions = {}): Residual {
  const { scale = 1, damping = 1, tinySize = scale } = o;
  const gain = (Math.sqrt(dim) * tinySize) / scale;
  return scaled(f.lookup(f.matrix("token_embd", dim, vocab, "embedding", { gain }), scale), damping);
}

/** Parts that read the same value; the stream takes up their sum. */
export const parallel =
  (...parts: readonly [Part, ...Part[]]): Part =>
  (f, x) => {
    const [first, ...others] = parts;
    return others.reduce((sum, part) => f.add(sum, part(f, x)), first(f, x));
  };

export interface HeadOptions {
  readonly bias?: Bias;
  /** logits = cap * tanh(logits / cap); 0 = none. */
  readonly softcap?: number;
  /** Multiplies the logits, before they are capped. */
  readonly scale?: number;
  /** Another norm than RMSNorm, given the size of a random model's weights. */
  readonly norm?: (tinySize: number) => Part;
  /**
   * Factor of the embedding. Where it is large, a random model's tied table is small and its last norm large instead.
   */
  readonly embedded?: number;
  /** A head of its own, of this name, where the file has one. */
  readonly own?: string;
  /** The rows before the norm are an output too: blocks that guess further tokens go on from them. */
  readonly carried?: boolean;
}

/** Norm and head; the head is the token embedding when the file has none. */
export function tokenHead(f: Flow, x: Residual, c: Width & ModelConfig, o: HeadOptions = {}): Outputs {
  const { scale = 1, softcap = 0, bias = "none", embedded = 1 } = o;
  const norm = o.norm ?? ((size: number) => rms("output_norm", c, size));
  // Logits of deviation 3.3: a distribution far from uniform.
  const size = embedded / scale;
  const picked = f.pick(x.read(f, "end"));
  const hidden = norm(size)(f, picked);
  const options = { or: "token_embd", gain: 3.3 / embedded, orGain: 2.5 / embedded, bias } as const;
  const name = o.own !== undefined && f.has(`${o.own}.weight`) ? o.own : "output";
  let logits = f.linear(hidden, f.matrix(name, c.dim, c.vocab, "head", options))[0]!;
  if (scale !== 1) logits = f.scale(logits, scale);
  const carried = o.carried ? { carried: picked } : {};
  return { hidden, logits: softcap === 0 ? logits : f.softcap(logits, softcap), ...carried };
}

/**
 * Which layers look back `window` positions only. The pattern is a period n (the last layer of each group of n is
 * full, or the first one; 0 = every layer is windowed, 1 = none) or one flag for each layer.
 */
export function windowedLayers(
  m: MetadataReader,
  defaultPeriod: number,
  full: "last" | "first" = "last",
): (layer: number) => boolean {
  const key = "attention.sliding_window_pattern";
  const flags = m.list(key);
  const blocks = m.uint("block_count", { max: 4096 });
  if (flags !== undefined && flags.length < blocks)
    m.fault(`metadata '${m.arch}.${key}' has ${flags.length} values for ${blocks} layers`);
  if (flags !== undefined) return (i) => (flags[i] ?? 0) !== 0;
  const period = m.uint(key, { min: 0, max: 4096, default: defaultPeriod });
  return (i) => period === 0 || (full === "last" ? i % period < period - 1 : i % period !== 0);
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

/** The same for a family with LayerNorm. */
export function tinyLayerNorm(dims: 64 | 256): TinyMetadata {
  const { "attention.layer_norm_rms_epsilon": eps, ...rest } = tinyTransformer(dims);
  return { ...rest, "attention.layer_norm_epsilon": eps! };
}
