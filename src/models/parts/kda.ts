/**
 * Kimi delta attention: a delta net whose heads forget each of their keys at a rate of its own; queries, keys and
 * values go through convolutions of their own.  @source Kimi Team 2025, "Kimi Linear"
 */
import type { Flow, Part, Value } from "../flow/flow.js";
import type { MetadataReader } from "../flow/metadata-reader.js";
import { decayOf } from "./decay.js";
import { convolved } from "./short-conv.js";

export interface KdaConfig {
  readonly heads: number;
  /** Width of a head, of keys and of values. */
  readonly width: number;
  readonly taps: number;
}

export const kdaConfig = (m: MetadataReader, heads: number): KdaConfig => ({
  heads,
  width: m.uint("kda.head_dim", { max: 4096 }),
  taps: m.uint("ssm.conv_kernel", { min: 2, max: 16 }),
});

export interface KdaOptions extends KdaConfig {
  readonly dim: number;
  readonly eps: number;
  /**
   * Logarithm of the smallest factor of decay. Such models have gates of one product each; without a bound there are
   * two, with the width of a head between them.
   */
  readonly bound?: number;
}

export const kda =
  (o: KdaOptions): Part =>
  (f, x) => {
    const { dim, eps, heads, width, taps, bound } = o;
    const inner = heads * width;
    const product = (name: string, rows: number) => f.matrix(name, dim, rows, "attention");
    const between = bound === undefined ? width : inner;
    const [rawQ, rawK, rawV, slow, strength, opened] = f.linear(
      x,
      product("attn_q", inner),
      product("attn_k", inner),
      product("attn_v", inner),
      product("ssm_f_a", between),
      product("ssm_beta", heads),
      product("ssm_g_a", between),
    ) as [Value, Value, Value, Value, Value, Value];
    const mixed = (y: Value, name: string) =>
      f.act(convolved(f, y, { name: `ssm_conv1d_${name}`, taps, spaced: true }), "silu");
    // x / sqrt(sum of squares + eps)
    const unit = (rows: Value, factor: number) => f.scale(f.headNorm(rows, null, eps / width, width), factor);
    const root = 1 / Math.sqrt(width);
    const [q, k, v] = [unit(mixed(rawQ, "q"), root * root), unit(mixed(rawK, "k"), root), mixed(rawV, "v")];
    const wide = (y: Value, name: string) =>
      bound === undefined ? f.linear(y, f.matrix(name, width, inner, "attention"))[0]! : y;
    const memory = f.keep("recurrent", { name: "ssm", heads, keys: width, values: width });
    const beta = f.act(strength, "sigmoid");
    const read = f.deltaRule(memory, { q, k, v, decay: decays(f, wide(slow, "ssm_f_b"), o), beta });
    const y = f.headNorm(read, f.vector("ssm_norm", width, "norm"), eps);
    const gated = f.multiply(y, f.act(wide(opened, "ssm_g_b"), "sigmoid"));
    return f.linear(gated, f.matrix("attn_output", inner, dim, "attention"))[0]!;
  };

/** exp(a softplus(x + dt)), or with a bound exp(bound sigmoid(a (x + dt))). */
function decays(f: Flow, x: Value, { heads, width, bound }: KdaOptions): Value {
  const fill = [bound === undefined ? 0 : -2, 0.5] as const;
  const shifted = f.addVector(x, f.vector("ssm_dt", heads * width, "attention", { suffix: "bias", fill }));
  const each = { shape: [1, heads], each: width };
  if (bound === undefined) return decayOf(f, f.act(shifted, "softplus"), heads, each);
  // A random model forgets half of what it knows in some rows.
  const a = f.vector("ssm_a", heads, "attention", { ...each, suffix: "", fill: [1.5, 0.3] });
  return f.act(f.scale(f.act(f.multiplyVector(shifted, a), "sigmoid"), bound), "exp");
}
