/**
 * RoPE of config.json: `rope_theta` and `rope_scaling` of older files, `rope_parameters` of newer ones, which may hold
 * one set for each kind of layer.
 */
import type { JsonObject } from "../../formats/json-reader.js";
import { isObject } from "../../formats/json-reader.js";
import type { HfConfig } from "./config.js";
import type { MetadataBuilder } from "./metadata.js";

/** Vectors of divisors that a GGUF file would hold, by name; their values follow from the configuration. */
export type ComputedVectors = Map<string, Float32Array>;

const original = "original_max_position_embeddings";

/** The set of one kind of layer, or the only one. */
export function ropeParameters(c: HfConfig, kind = "full_attention"): JsonObject {
  const all = c.object("rope_parameters") ?? {};
  const nested = all[kind];
  const own = isObject(nested) ? nested : all;
  return { ...c.object("rope_scaling"), ...own };
}

const numberOf = (from: JsonObject, key: string): number | undefined => {
  const value = from[key];
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
};

/** Writes the `rope.*` keys, and computes the divisors of Llama 3 and LongRoPE. */
export function ropeKeys(
  c: HfConfig,
  m: MetadataBuilder,
  headDim: number | undefined,
  computed: ComputedVectors,
): void {
  const rope = ropeParameters(c);
  const base = numberOf(rope, "rope_theta") ?? c.number("rope_theta", "rotary_emb_base", "global_rope_theta");
  m.float("rope.freq_base", base);
  const share = numberOf(rope, "partial_rotary_factor") ?? c.number("partial_rotary_factor", "rotary_pct");
  const dims = headDim === undefined ? undefined : Math.floor(headDim * (share ?? 1));
  if (!m.has("rope.dimension_count")) m.uint("rope.dimension_count", dims);
  const type = rope.rope_type ?? rope.type ?? "default";
  const factor = numberOf(rope, "factor");
  switch (type) {
    case "default":
    case "mrope":
      return;
    case "linear":
      m.text("rope.scaling.type", "linear");
      m.float("rope.scaling.factor", factor);
      return;
    // Grows only beyond the trained context, which is where nothing of ours goes.
    case "dynamic":
      return;
    case "llama3":
      if (dims !== undefined) computed.set("rope_freqs.weight", llama3Divisors(c, rope, dims, base ?? 10_000));
      return;
    case "yarn":
      yarnKeys(c, m, rope, factor);
      return;
    case "longrope":
    case "su":
      longRopeKeys(c, m, rope, computed);
      return;
    default:
      throw c.invalid(`RoPE scaling '${JSON.stringify(type)?.slice(0, 40)}' is not known`);
  }
}

function yarnKeys(c: HfConfig, m: MetadataBuilder, rope: JsonObject, factor: number | undefined): void {
  const trained = numberOf(rope, original) ?? c.number(original);
  const context = c.number("max_position_embeddings");
  m.text("rope.scaling.type", "yarn");
  m.float("rope.scaling.factor", factor ?? (trained && context ? context / trained : undefined));
  m.uint("rope.scaling.original_context_length", trained ?? context);
  m.float("rope.scaling.yarn_beta_fast", numberOf(rope, "beta_fast"));
  m.float("rope.scaling.yarn_beta_slow", numberOf(rope, "beta_slow"));
  m.float("rope.scaling.attn_factor", numberOf(rope, "attention_factor"));
}

/**
 * Long waves are stretched by the factor, short ones kept, with a ramp between.
 * @source Dubey et al. 2024, "The Llama 3 Herd of Models"; transformers modeling_rope_utils.py
 */
function llama3Divisors(c: HfConfig, rope: JsonObject, dims: number, base: number): Float32Array {
  const need = (key: string): number => {
    const value = numberOf(rope, key);
    if (value === undefined) throw c.invalid(`'rope_scaling' has no number '${key}'`);
    return value;
  };
  const factor = need("factor");
  const [low, high] = [need("low_freq_factor"), need("high_freq_factor")];
  const trained = need(original);
  return Float32Array.from({ length: dims / 2 }, (_, i) => {
    const wave = 2 * Math.PI * base ** ((2 * i) / dims);
    if (wave < trained / high) return 1;
    if (wave > trained / low) return factor;
    const smooth = (trained / wave - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}

function longRopeKeys(c: HfConfig, m: MetadataBuilder, rope: JsonObject, computed: ComputedVectors): void {
  const trained = c.number(original) ?? numberOf(rope, original);
  const context = c.number("max_position_embeddings");
  for (const kind of ["long", "short"]) {
    const factors = rope[`${kind}_factor`];
    if (!Array.isArray(factors) || !factors.every((v) => typeof v === "number"))
      throw c.invalid(`'rope_scaling' has no numbers '${kind}_factor'`);
    computed.set(`rope_factors_${kind}.weight`, Float32Array.from(factors as number[]));
  }
  if (trained === undefined || context === undefined) return;
  m.uint("rope.scaling.original_context_length", trained);
  const scale = context / trained;
  const magnitude = scale <= 1 ? 1 : Math.sqrt(1 + Math.log(scale) / Math.log(trained));
  m.float("rope.scaling.attn_factor", numberOf(rope, "attention_factor") ?? magnitude);
}
