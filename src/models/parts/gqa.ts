/** Grouped-query attention: h heads of queries over fewer heads of keys and values. */

import type { Temperature } from "../../ops/ops.js";
import type { Flow, KvState, Part, Reach, Selection, Value, VectorWeight, Weight } from "../flow/flow.js";
import type { RopeConfig } from "../flow/rope.js";
import type { Bias } from "../flow/tensors.js";

/**
 * Where queries and keys are normalized: each head before RoPE, the same with LayerNorm and a weight for every value
 * of every head, each head after RoPE, or the whole product before it is cut into heads.
 */
export type QkNorm = "head" | "head-centred" | "rotated" | "whole";

export interface GqaOptions {
  /** Prefix of its tensors, and the name of what it keeps; default `attn`. */
  readonly name?: string;
  readonly dim: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  /** Width of a value head where it is not that of a key head. */
  readonly headDimV?: number;
  readonly eps: number;
  /** Null: positions are not encoded. */
  readonly rope: RopeConfig | null;
  /** Model-wide tensor of RoPE divisors [rope.dims / 2], used when present; it may be made for more values. */
  readonly ropeDivisors?: string;
  readonly ropeDivisorsOf?: number;
  /** One tensor holds the rows of queries, keys and values; default: where the file has it. */
  readonly fused?: boolean;
  /** RMSNorm of every value head, without weights. */
  readonly valueNorm?: boolean;
  /** Values are the products for keys, before their norm, where the file has no matrix for values. */
  readonly valuesFromKeys?: "optional";
  /** Keys and values are kept for layers to come, or read from a layer before, under these names. */
  readonly keepAs?: string;
  readonly readFrom?: string;
  /** Multiplies queries by what grows with their position. */
  readonly temperature?: Temperature | undefined;
  /** Norms of queries and keys: RMSNorm, unless they are centred. */
  readonly qkNorm?: QkNorm | undefined;
  /** Their weights: some families have none, in others some models have no such norm at all. */
  readonly qkNormWeights?: "required" | "optional" | "none";
  readonly qkvBias?: Bias;
  readonly outputBias?: Bias;
  /**
   * The heads' results are multiplied by the sigmoid of a product of the input: a factor for each head, or value. Those
   * of `query` stand behind each head's query in its matrix.
   */
  readonly gate?: "head" | "value" | "query" | undefined;
  /** Factor of the scores; 1 / sqrt(headDim) by default. */
  readonly scale?: number;
  /** Positions looked back, the own one included; 0 = all. */
  readonly window?: number;
  /** Any other reach instead of a window. */
  readonly reach?: Reach;
  readonly softcap?: number;
  /** A learned logit per head joins the softmax without a value. */
  readonly sinks?: boolean | "optional";
  /** Which positions are seen, by the input. */
  readonly choose?: ((f: Flow, x: Value) => Selection) | undefined;
}

export const gqa =
  (o: GqaOptions): Part =>
  (f, x) => {
    const { name: own = "attn", dim, heads, headDim, headDimV = headDim, window = 0 } = o;
    const { query, past, gate } =
      o.readFrom === undefined ? projected(f, o, own, x) : queried(f, o, own, x, o.readFrom);
    if (o.keepAs !== undefined) f.share(o.keepAs, past);
    const sinks = { fill: [3, 1] } as const;
    const selection = o.choose?.(f, x);
    const mixed = f.attention(query, [selection === undefined ? past : { state: past, selection }], {
      heads,
      scale: o.scale ?? 1 / Math.sqrt(headDim),
      reach: o.reach ?? (window === 0 ? "all" : { window }),
      softcap: o.softcap ?? 0,
      sinks: !o.sinks
        ? null
        : f.vector(`${own}_sinks`, heads, "attention", o.sinks === "optional" ? { ...sinks, optional: true } : sinks),
    });
    return f.linear(
      o.gate === undefined ? mixed : gated(f, o, own, x, mixed, gate),
      f.matrix(`${own}_output`, heads * headDimV, dim, "attention", { bias: o.outputBias ?? "none" }),
    )[0]!;
  };

// Queries and keys of RMS 1.4 give scores of deviation 2: attention that looks somewhere in particular.
const gains = { q: 1.4, k: 1.4, v: 1 } as const;

function weight(f: Flow, o: GqaOptions, own: string, name: "q" | "k" | "v"): Weight {
  const { dim, heads, kvHeads, headDim, headDimV = headDim, qkvBias: bias = "none" } = o;
  const perHead = o.gate === "query" ? 2 * headDim : headDim;
  const rows = { q: heads * perHead, k: kvHeads * headDim, v: kvHeads * headDimV };
  const first = { q: 0, k: rows.q, v: rows.q + rows.k };
  const fused = o.fused ?? f.has(`${own}_qkv.weight`);
  const from = fused ? { split: `${own}_qkv`, of: rows.q + rows.k + rows.v, first: first[name] } : undefined;
  return f.matrix(`${own}_${name}`, dim, rows[name], "attention", { gain: gains[name], bias, from });
}

/** Queries with what they look at, and the gate where it comes with them. */
interface Queried {
  readonly query: Value;
  readonly past: KvState;
  readonly gate?: Value | undefined;
}

/** Queries of every head, and gates where they stand behind them. */
function queriesOf(f: Flow, { gate, heads, headDim }: GqaOptions, rows: Value): readonly [Value, Value?] {
  if (gate !== "query") return [rows];
  return f.splitHeads(rows, heads, headDim, headDim) as [Value, Value];
}

function projected(f: Flow, o: GqaOptions, own: string, x: Value): Queried {
  const { kvHeads, headDim, headDimV = headDim, eps } = o;
  const withValues = o.valuesFromKeys === undefined || f.has(`${own}_v.weight`);
  const [rows, k, v] = f.linear(
    x,
    weight(f, o, own, "q"),
    weight(f, o, own, "k"),
    ...(withValues ? [weight(f, o, own, "v")] : []),
  );
  const raw = v ?? k!;
  const [q, gate] = queriesOf(f, o, rows!);
  const values = o.valueNorm ? f.headNorm(raw, null, eps, headDimV) : raw;
  const divisors = divisorsOf(f, o);
  const [query, key] = [placed(f, o, own, "q", q, divisors), placed(f, o, own, "k", k!, divisors)];
  return { query, gate, past: f.keep("kv", { k: key, v: values, heads: kvHeads, name: own }) };
}

/** Queries of keys and values that another layer keeps. */
function queried(f: Flow, o: GqaOptions, own: string, x: Value, from: string): Queried {
  const [q, gate] = queriesOf(f, o, f.linear(x, weight(f, o, own, "q"))[0]!);
  return { query: placed(f, o, own, "q", q, divisorsOf(f, o)), gate, past: f.shared(from) as KvState };
}

function divisorsOf(f: Flow, { ropeDivisors, rope, ropeDivisorsOf }: GqaOptions): VectorWeight | null {
  if (ropeDivisors === undefined || rope === null) return null;
  const length = (ropeDivisorsOf ?? rope.dims) / 2;
  return f.vector(ropeDivisors, length, "norm", { optional: true, shared: true, fill: [3, 1] });
}

/** Queries or keys with their norm and positions, in the family's order. */
function placed(f: Flow, o: GqaOptions, own: string, name: "q" | "k", x: Value, divisors: VectorWeight | null): Value {
  const { headDim, rope } = o;
  const norm = `${own}_${name}_norm`;
  const normed = o.qkNorm === undefined || o.qkNorm === "rotated" ? x : qkNorm(f, o, x, norm);
  const turned = rope === null ? normed : f.rope(normed, headDim, rope, divisors);
  const done = o.qkNorm === "rotated" ? qkNorm(f, o, turned, norm) : turned;
  return name === "k" || o.temperature === undefined ? done : f.temper(done, o.temperature);
}

function qkNorm(f: Flow, o: GqaOptions, x: Value, name: string) {
  const { qkNorm, qkNormWeights = "required", headDim, eps, scale = 1 / Math.sqrt(headDim) } = o;
  if (qkNormWeights === "none") return f.headNorm(x, null, eps, headDim);
  const centred = qkNorm === "head-centred";
  const length = centred || qkNorm === "whole" ? x.cols : headDim;
  // Scores as large as with the usual scale: larger ones would make much of an F16 cache's rounding.
  const size = Math.round(1e6 / Math.sqrt(scale * Math.sqrt(headDim))) / 1e6;
  const shape = [headDim, x.cols / headDim] as const;
  const options = { fill: [1.3 * size, 0.2 * size] as const, ...(centred && x.cols > headDim && { shape }) };
  const optional = qkNormWeights === "optional";
  const weight = f.vector(name, length, "norm", optional ? { ...options, optional } : options);
  if (weight === null) return x;
  if (centred) return f.multiplyVector(f.centreHeads(x, headDim, eps), weight);
  return qkNorm === "whole" ? f.norm(x, weight, eps) : f.headNorm(x, weight, eps);
}

function gated(f: Flow, o: GqaOptions, own: string, x: Value, mixed: Value, known: Value | undefined): Value {
  const { dim, heads, gate } = o;
  if (known !== undefined) return f.multiply(mixed, f.act(known, "sigmoid"));
  const factors = gate === "head" ? heads : mixed.cols;
  const product = f.linear(x, f.matrix(`${own}_gate`, dim, factors, "attention", { gain: 2 }))[0]!;
  return f.multiply(mixed, f.act(product, "sigmoid"));
}
