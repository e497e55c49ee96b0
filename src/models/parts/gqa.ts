/** Grouped-query attention: h heads of queries over fewer heads of keys and values. */
import type { Part, Reach } from "../flow/flow.js";
import type { RopeConfig } from "../flow/rope.js";
import type { Bias } from "../flow/tensors.js";

export interface GqaOptions {
  /** Prefix of its tensors, and the name of what it keeps; default `attn`. */
  readonly name?: string;
  readonly dim: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly eps: number;
  readonly rope: RopeConfig;
  /** Model-wide tensor of RoPE divisors [rope.dims / 2], used when present. */
  readonly ropeDivisors?: string;
  /** RMSNorm of each query and key head before RoPE. */
  readonly qkNorm?: boolean;
  /** One tensor holds the rows of queries, keys and values; default: where the file has it. */
  readonly fused?: boolean;
  readonly qkvBias?: Bias;
  readonly outputBias?: Bias;
  /** Factor of the scores; 1 / sqrt(headDim) by default. */
  readonly scale?: number;
  /** Positions looked back, the own one included; 0 = all. */
  readonly window?: number;
  /** Any other reach instead of a window. */
  readonly reach?: Reach;
  readonly softcap?: number;
  /** A learned logit per head joins the softmax without a value. */
  readonly sinks?: boolean;
}

export const gqa =
  (o: GqaOptions): Part =>
  (f, x) => {
    const { name: own = "attn", dim, heads, kvHeads, headDim, eps, rope, qkvBias = "none", window = 0 } = o;
    const fused = o.fused ?? f.has(`${own}_qkv.weight`);
    const of = (heads + 2 * kvHeads) * headDim;
    const weight = (name: string, before: number, count: number, gain: number) =>
      f.matrix(`${own}_${name}`, dim, count * headDim, "attention", {
        gain,
        bias: qkvBias,
        from: fused ? { split: `${own}_qkv`, of, first: before * headDim } : undefined,
      });
    // Queries and keys of RMS 1.4 give scores of deviation 2: attention that looks somewhere in particular.
    const projected = f.linear(
      x,
      weight("q", 0, heads, 1.4),
      weight("k", heads, kvHeads, 1.4),
      weight("v", heads + kvHeads, kvHeads, 1),
    );
    let [q, k] = projected as [typeof x, typeof x];
    const v = projected[2]!;
    if (o.qkNorm) {
      q = f.headNorm(q, f.vector(`${own}_q_norm`, headDim, "norm", { fill: [1.3, 0.2] }), eps);
      k = f.headNorm(k, f.vector(`${own}_k_norm`, headDim, "norm", { fill: [1.3, 0.2] }), eps);
    }
    const divisors =
      o.ropeDivisors === undefined
        ? null
        : f.vector(o.ropeDivisors, rope.dims / 2, "norm", { optional: true, shared: true, fill: [3, 1] });
    q = f.rope(q, headDim, rope, divisors);
    k = f.rope(k, headDim, rope, divisors);
    const past = f.keep("kv", { k, v, heads: kvHeads, name: own });
    const mixed = f.attention(q, [past], {
      heads,
      scale: o.scale ?? 1 / Math.sqrt(headDim),
      reach: o.reach ?? (window === 0 ? "all" : { window }),
      softcap: o.softcap ?? 0,
      sinks: o.sinks ? f.vector(`${own}_sinks`, heads, "attention", { fill: [3, 1] }) : null,
    });
    return f.linear(
      mixed,
      f.matrix(`${own}_output`, heads * headDim, dim, "attention", { bias: o.outputBias ?? "none" }),
    )[0]!;
  };
