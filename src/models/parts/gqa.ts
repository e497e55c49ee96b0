/** Grouped-query attention: h heads of queries over fewer heads of keys and values. */
import type { AttentionSpec, Product } from "../../ops/ops.js";
import type { Binder, Part, PartIo, Step, TensorSpec } from "../spec.js";
import { type RopeConfig, ropeSpec } from "./rope.js";

/** `optional`: used when the file has it (converters keep biases of fine-tunes). */
export type Bias = "none" | "optional" | "required";

export interface GqaOptions {
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
  readonly qkvBias?: Bias;
  readonly outputBias?: Bias;
  /** Factor of the scores; 1 / sqrt(headDim) by default. */
  readonly scale?: number;
  /** Positions looked back, the own one included; 0 = all. */
  readonly window?: number;
  readonly softcap?: number;
  /** A learned logit per head joins the softmax without a value. */
  readonly sinks?: boolean;
}

export function bias(name: string, length: number, kind: Bias, role: TensorSpec["role"]): TensorSpec[] {
  if (kind === "none") return [];
  const spec: TensorSpec = { name, shape: [length], role, kind: "vector", tiny: { mean: 0, deviation: 0.3 } };
  return [kind === "optional" ? { ...spec, optional: true } : spec];
}

export function gqa(o: GqaOptions): Part {
  const { dim, heads, kvHeads, headDim } = o;
  const [queryDim, keyDim] = [heads * headDim, kvHeads * headDim];
  const matrix = (name: string, shape: number[], deviation: number): TensorSpec => ({
    name,
    shape,
    role: "attention",
    kind: "matrix",
    tiny: { mean: 0, deviation },
  });
  const norm = (name: string): TensorSpec => ({
    name,
    shape: [headDim],
    role: "norm",
    kind: "vector",
    tiny: { mean: 1.3, deviation: 0.2 },
  });
  const qkvBias = o.qkvBias ?? "none";
  const tensors: TensorSpec[] = [
    // Queries and keys of RMS 1.4 give scores of deviation 2: attention that looks somewhere in particular.
    matrix("attn_q.weight", [dim, queryDim], 1.4 / Math.sqrt(dim)),
    matrix("attn_k.weight", [dim, keyDim], 1.4 / Math.sqrt(dim)),
    matrix("attn_v.weight", [dim, keyDim], 1 / Math.sqrt(dim)),
    matrix("attn_output.weight", [queryDim, dim], 1 / Math.sqrt(queryDim)),
    ...bias("attn_q.bias", queryDim, qkvBias, "attention"),
    ...bias("attn_k.bias", keyDim, qkvBias, "attention"),
    ...bias("attn_v.bias", keyDim, qkvBias, "attention"),
    ...bias("attn_output.bias", dim, o.outputBias ?? "none", "attention"),
    ...(o.qkNorm ? [norm("attn_q_norm.weight"), norm("attn_k_norm.weight")] : []),
  ];
  if (o.sinks)
    tensors.push({
      name: "attn_sinks.weight",
      shape: [heads],
      role: "attention",
      kind: "vector",
      tiny: { mean: 3, deviation: 1 },
    });
  if (o.ropeDivisors !== undefined)
    tensors.push({
      name: o.ropeDivisors,
      shape: [o.rope.dims / 2],
      role: "norm",
      kind: "vector",
      optional: true,
      shared: true,
      tiny: { mean: 3, deviation: 1 },
    });
  return {
    tensors,
    kv: { kvHeads, headDimK: headDim, headDimV: headDim, window: o.window ?? 0 },
    bind: (b, io) => bindGqa(o, b, io),
  };
}

function bindGqa(o: GqaOptions, b: Binder, { input, output, add }: PartIo): Step {
  const { ops } = b;
  const { heads, kvHeads, headDim, eps } = o;
  const q = b.scratch("q", heads * headDim); // [rows, heads * headDim]
  const k = b.scratch("k", kvHeads * headDim); // [rows, kvHeads * headDim]
  const v = b.scratch("v", kvHeads * headDim); // [rows, kvHeads * headDim]
  const mixed = b.scratch("attention", heads * headDim); // [rows, heads * headDim]
  const { pool, layer, window } = b.kv();

  const inward: Product[] = [
    { out: q, weight: b.matrix("attn_q.weight"), bias: b.optionalVector("attn_q.bias"), add: false },
    { out: k, weight: b.matrix("attn_k.weight"), bias: b.optionalVector("attn_k.bias"), add: false },
    { out: v, weight: b.matrix("attn_v.weight"), bias: b.optionalVector("attn_v.bias"), add: false },
  ];
  const outward: Product[] = [
    { out: output, weight: b.matrix("attn_output.weight"), bias: b.optionalVector("attn_output.bias"), add },
  ];
  const qNorm = o.qkNorm && b.mutate !== "qk-norm" ? b.vector("attn_q_norm.weight") : null;
  const kNorm = o.qkNorm && b.mutate !== "qk-norm" ? b.vector("attn_k_norm.weight") : null;
  const divisors = o.ropeDivisors === undefined ? null : b.optionalValues(o.ropeDivisors);
  const rope = b.mutate === "rope" ? null : b.ropeTable(ropeSpec(o.rope, divisors));
  const spec: AttentionSpec = {
    heads,
    kvHeads,
    headDimK: headDim,
    headDimV: headDim,
    scale: o.scale ?? 1 / Math.sqrt(headDim),
    window,
    softcap: o.softcap ?? 0,
    sinks: o.sinks && b.mutate !== "sinks" ? b.vector("attn_sinks.weight") : null,
  };

  return (n) => {
    ops.matmul(inward, input, n);
    if (qNorm !== null) ops.headNorm(q, qNorm, n, heads, headDim, eps);
    if (kNorm !== null) ops.headNorm(k, kNorm, n, kvHeads, headDim, eps);
    if (rope !== null) ops.rope(q, n, heads, headDim, rope);
    if (rope !== null) ops.rope(k, n, kvHeads, headDim, rope);
    ops.kvStore(pool, layer, k, v, n);
    ops.attention(mixed, q, pool, layer, n, spec);
    ops.matmul(outward, mixed, n);
  };
}
