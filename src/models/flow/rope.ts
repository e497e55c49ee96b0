/** Rotary position embedding: metadata -> the angle of each pair per position. Pure functions; ops do the rotating. */
import type { RopeSpec } from "../../ops/ops.js";
import type { MetadataReader } from "./metadata-reader.js";

export interface YarnScaling {
  readonly kind: "yarn";
  readonly factor: number;
  /** Context the frequencies were trained for. */
  readonly originalTokens: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  readonly extrapolation: number;
  readonly attentionFactor: number;
  readonly logMultiplier: number;
}
export type RopeScaling =
  | { readonly kind: "none" }
  /** `magnitude` multiplies cosines and sines, as LongRoPE's pairs with divisors of their own need it. */
  | { readonly kind: "linear"; readonly factor: number; readonly magnitude?: number }
  | YarnScaling;

export interface RopeConfig {
  /** Rotated values of each head, even. */
  readonly dims: number;
  readonly base: number;
  readonly scaling: RopeScaling;
  /** How values are paired in every kind of file; default: as in the model's other rotations. */
  readonly pairs?: "halves" | "neighbours";
  /** Values of a head before those that are rotated; default 0. */
  readonly first?: number;
  /** Turned the other way: what has been rotated comes back. */
  readonly inverse?: boolean;
}

/** Reads the `rope.*` keys. `long`: the family has LongRoPE. */
export function readRope(m: MetadataReader, headDim: number, { long = false } = {}): RopeConfig {
  const dims = m.uint("rope.dimension_count", { default: headDim, max: 4096 });
  if (dims % 2 !== 0 || dims > headDim) m.fault(`RoPE over ${dims} values of heads of ${headDim}`);
  return { dims, base: m.float("rope.freq_base", { default: 10_000, above: 0 }), scaling: readScaling(m, long) };
}

/**
 * LongRoPE's divisors: those for contexts up to the length the model began with, or those for longer ones. What
 * counts is the context that was asked for, else the one the model was trained for: a budget may shorten it, and must
 * not change numbers.
 */
export function longRopeDivisors(m: MetadataReader): string {
  const trained = m.uint("context_length");
  const original = m.uint("rope.scaling.original_context_length", { default: trained });
  return `rope_factors_${(m.askedContextTokens ?? trained) > original ? "long" : "short"}`;
}

/** That of windowed layers, which some families give a base of their own. */
export function readWindowedRope(m: MetadataReader, rope: RopeConfig, base = rope.base): RopeConfig {
  return { ...rope, base: m.float("rope.freq_base_swa", { default: base, above: 0 }) };
}

function readScaling(m: MetadataReader, long: boolean): RopeScaling {
  const kind = m.string("rope.scaling.type", "linear");
  const factor = m.float("rope.scaling.factor", {
    default: m.float("rope.scale_linear", { default: 1, above: 0 }),
    above: 0,
  });
  const magnitude = long ? m.float("rope.scaling.attn_factor", { default: 1, above: 0 }) : 1;
  switch (long && kind === "longrope" ? "linear" : kind) {
    case "none":
      return { kind: "none" };
    case "linear":
      if (magnitude !== 1) return { kind: "linear", factor, magnitude };
      return factor === 1 ? { kind: "none" } : { kind: "linear", factor };
    case "yarn":
      return {
        kind: "yarn",
        factor,
        originalTokens: m.uint("rope.scaling.original_context_length", {
          default: m.uint("context_length"),
        }),
        betaFast: m.float("rope.scaling.yarn_beta_fast", { default: 32, above: 0 }),
        betaSlow: m.float("rope.scaling.yarn_beta_slow", { default: 1, above: 0 }),
        extrapolation: m.float("rope.scaling.yarn_ext_factor", { default: 1 }),
        attentionFactor: m.float("rope.scaling.attn_factor", { default: 1 }),
        logMultiplier: m.float("rope.scaling.yarn_log_multiplier", { default: 0 }),
      };
    default:
      m.fault(`RoPE scaling '${kind}' is not supported for '${m.arch}' (none, linear and yarn are)`);
      return { kind: "none" };
  }
}

/**
 * Angle per position of each pair: base^(-2i / dims), divided by the pair's own divisor (Llama 3), then scaled.
 * `interleaved` is how the checkpoint pairs values.  @shape divisors [dims / 2] or null
 */
export function ropeSpec(rope: RopeConfig, interleaved: boolean, divisors: Float32Array | null): RopeSpec {
  const { dims, base, scaling, first = 0, inverse = false } = rope;
  const frequencies = Float64Array.from(
    { length: dims / 2 },
    (_, i) => base ** ((-2 * i) / dims) / (divisors === null ? 1 : divisors[i]!),
  );
  if (scaling.kind === "linear") for (let i = 0; i < dims / 2; i++) frequencies[i]! /= scaling.factor;
  if (scaling.kind === "yarn") applyYarn(frequencies, dims, base, scaling);
  if (inverse) for (let i = 0; i < dims / 2; i++) frequencies[i] = -frequencies[i]!;
  return { dims, frequencies, magnitude: ropeMagnitude(scaling), interleaved, first };
}

/** Factor of cosines and sines. */
export function ropeMagnitude(scaling: RopeScaling): number {
  if (scaling.kind === "yarn") return yarnMagnitude(scaling);
  return scaling.kind === "linear" ? (scaling.magnitude ?? 1) : 1;
}

/**
 * Fast pairs (many turns within the original context) keep their frequency, slow ones are interpolated by the factor,
 * with a linear ramp between.  @source Peng et al. 2023, "YaRN", section 3.2
 */
function applyYarn(frequencies: Float64Array, dims: number, base: number, yarn: YarnScaling): void {
  const pairOfTurns = (turns: number) =>
    (dims * Math.log(yarn.originalTokens / (2 * Math.PI * turns))) / (2 * Math.log(base));
  const low = Math.max(0, Math.floor(pairOfTurns(yarn.betaFast)));
  const high = Math.min(dims - 1, Math.ceil(pairOfTurns(yarn.betaSlow)));
  for (let i = 0; i < frequencies.length; i++) {
    const ramp = Math.max(0, Math.min(1, (i - low) / Math.max(0.001, high - low)));
    const keep = yarn.extrapolation * (1 - ramp);
    frequencies[i] = (frequencies[i]! / yarn.factor) * (1 - keep) + frequencies[i]! * keep;
  }
}

/** Interpolated attention is flatter; cos and sin grow with the logarithm of the factor to make up for it. */
function yarnMagnitude(yarn: YarnScaling): number {
  if (yarn.extrapolation === 0) return yarn.attentionFactor;
  const growth = (multiplier: number) => (yarn.factor <= 1 ? 1 : 1 + 0.1 * multiplier * Math.log(yarn.factor));
  const logarithmic = yarn.logMultiplier === 0 ? growth(1) : growth(1) / growth(yarn.logMultiplier);
  return logarithmic * yarn.attentionFactor;
}
