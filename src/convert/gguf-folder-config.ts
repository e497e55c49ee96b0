/** config.json of a GGUF file's model: the keys that all families have, RoPE, and what its kind adds. */
import { HundredweightError } from "../errors.js";
import type { Checkpoint } from "../formats/types.js";
import { vectorBytes } from "./encode-rows.js";
import { type FolderKeys, shortest } from "./gguf-folder-keys.js";
import type { FolderKind } from "./gguf-folder-kinds.js";
import type { Sources } from "./stored-matrix.js";

/** Vectors that config.json stands for. */
export const computedVectors = /^(rope_freqs|rope_factors_(long|short))\.weight$/;

/** @throws FORMAT_UNSUPPORTED for divisors of RoPE that no configuration gives */
export function folderConfig(
  checkpoint: Checkpoint,
  kind: FolderKind,
  k: FolderKeys,
  files: Sources,
): Record<string, unknown> {
  const id = (name: string): number | null => checkpoint.metadata.number(`tokenizer.ggml.${name}_token_id`) ?? null;
  const rms = k.number("attention.layer_norm_rms_epsilon");
  const layerNorm = k.number("attention.layer_norm_epsilon");
  const behind = k.number("nextn_predict_layers") ?? 0;
  return {
    architectures: [kind.name],
    model_type: kind.type,
    vocab_size: k.vocab,
    hidden_size: k.number("embedding_length"),
    intermediate_size: k.number("feed_forward_length") ?? k.number("expert_feed_forward_length"),
    num_hidden_layers: k.layers,
    ...(behind > 0 && { num_nextn_predict_layers: behind }),
    num_attention_heads: k.number("attention.head_count"),
    num_key_value_heads: k.number("attention.head_count_kv") ?? k.number("attention.head_count"),
    head_dim: k.headDim,
    max_position_embeddings: k.number("context_length"),
    hidden_act: "silu",
    ...(rms !== undefined && { rms_norm_eps: rms }),
    ...(layerNorm !== undefined && { layer_norm_eps: layerNorm }),
    ...ropeConfig(checkpoint, k, files),
    ...kind.config?.(k),
    tie_word_embeddings: !k.has("output.weight"),
    bos_token_id: id("bos"),
    eos_token_id: id("eos"),
    pad_token_id: id("padding"),
    torch_dtype: "float32",
    use_cache: true,
  };
}

/** `rope_theta` and `rope_scaling`, which every version of transformers reads. */
function ropeConfig(checkpoint: Checkpoint, k: FolderKeys, files: Sources): Record<string, unknown> {
  const base = k.number("rope.freq_base") ?? 10_000;
  const dims = k.number("rope.dimension_count") ?? k.headDim;
  const vector = (name: string): Float32Array | undefined => {
    const info = checkpoint.tensors.get(`${name}.weight`);
    if (info === undefined) return undefined;
    const { buffer, byteOffset, byteLength } = vectorBytes(info, undefined, files);
    return new Float32Array(buffer, byteOffset, byteLength / 4);
  };
  const trained = k.number("rope.scaling.original_context_length");
  const factor = k.number("rope.scaling.factor");
  const share = dims === k.headDim ? {} : { partial_rotary_factor: dims / k.headDim };
  const common = { rope_theta: base, ...share };
  const said = (scaling: Record<string, unknown>): Record<string, unknown> => ({ ...common, rope_scaling: scaling });
  const [long, short] = [vector("rope_factors_long"), vector("rope_factors_short")];
  if (long !== undefined && short !== undefined) {
    const growth = k.number("rope.scaling.attn_factor");
    const factors = { long_factor: [...long].map(shortest), short_factor: [...short].map(shortest) };
    const longRope = { type: "longrope", rope_type: "longrope", ...factors };
    return {
      ...said({ ...longRope, ...(growth !== undefined && { attention_factor: growth }) }),
      original_max_position_embeddings: trained ?? k.number("context_length"),
    };
  }
  const divisors = vector("rope_freqs");
  if (divisors?.some((divisor) => divisor !== 1))
    return said(llama3Scaling(checkpoint, divisors, dims, base, k.number("context_length")!));
  const type = k.text("rope.scaling.type");
  if (type === "yarn")
    return said({
      type: "yarn",
      rope_type: "yarn",
      factor,
      original_max_position_embeddings: trained,
      ...kept("beta_fast", k.number("rope.scaling.yarn_beta_fast")),
      ...kept("beta_slow", k.number("rope.scaling.yarn_beta_slow")),
      ...kept("attention_factor", k.number("rope.scaling.attn_factor")),
    });
  const linear = factor ?? k.number("rope.scale_linear") ?? 1;
  if ((type === undefined || type === "linear") && linear !== 1)
    return said({ type: "linear", rope_type: "linear", factor: linear });
  return { ...common, rope_scaling: null };
}

const kept = (key: string, value: number | undefined): Record<string, number> =>
  value === undefined ? {} : { [key]: value };

/** Parts of a divisor that single precision and another order of computing may change. */
const closeness = 1e-4;

/**
 * Llama 3's numbers from the divisors they give. Long waves have the factor; between the lengths that bound the ramp
 * each divisor says where on the ramp its wave is.
 * @throws FORMAT_UNSUPPORTED where no such numbers give them
 */
function llama3Scaling(
  { path }: Checkpoint,
  divisors: Float32Array,
  dims: number,
  base: number,
  context: number,
): Record<string, unknown> {
  const factor = shortest(divisors.reduce((a, b) => Math.max(a, b)));
  const [low, high] = [1, 4];
  // All published models have the same bounds; the length is a power of two below the context.
  for (let trained = 2 ** Math.ceil(Math.log2(Math.max(8192, context))); trained >= 2; trained /= 2) {
    const given = (i: number): number => {
      const wave = 2 * Math.PI * base ** ((2 * i) / dims);
      if (wave < trained / high) return 1;
      if (wave > trained / low) return factor;
      const smooth = (trained / wave - low) / (high - low);
      return 1 / ((1 - smooth) / factor + smooth);
    };
    if (divisors.every((divisor, i) => Math.abs(divisor / given(i) - 1) < closeness))
      return {
        type: "llama3",
        rope_type: "llama3",
        factor,
        low_freq_factor: low,
        high_freq_factor: high,
        original_max_position_embeddings: trained,
      };
  }
  throw new HundredweightError(
    "FORMAT_UNSUPPORTED",
    `${path}: the divisors of RoPE ('rope_freqs.weight') are not those of a Llama 3 model, and config.json has no ` +
      "other way to say them",
  );
}
