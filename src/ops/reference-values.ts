/**
 * The reference's formulas of newer layers, one row each: every sum in double precision, rounded to f32 on the way out.
 */
import type { Activation, Pooling, Xielu } from "./ops.js";

/** @source Ba, Kiros & Hinton 2016, "Layer Normalization" */
export function layerNormRow(
  out: Float32Array,
  x: Float32Array,
  weight: Float32Array | null,
  bias: Float32Array | null,
  eps: number,
): void {
  let sum = 0;
  for (const v of x) sum += v;
  const mean = sum / x.length;
  let squares = 0;
  for (const v of x) squares += (v - mean) ** 2;
  const inverse = 1 / Math.sqrt(squares / x.length + eps);
  for (let i = 0; i < x.length; i++) out[i] = (x[i]! - mean) * inverse * (weight?.[i] ?? 1) + (bias?.[i] ?? 0);
}

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export function actValue(kind: Activation, x: number): number {
  switch (kind) {
    case "silu":
      return x * sigmoid(x);
    case "gelu-tanh":
      return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    case "relu":
      return Math.max(x, 0);
    case "relu2":
      return Math.max(x, 0) ** 2;
    case "sigmoid":
      return sigmoid(x);
    case "tanh":
      return Math.tanh(x);
    case "exp":
      return Math.exp(x);
    case "softplus":
      return x > 20 ? x : Math.log1p(Math.exp(x));
    case "root":
      return Math.sign(x) * Math.sqrt(Math.max(Math.abs(x), Math.fround(1e-6)));
  }
}

export function xieluValue({ positive, negative, linear, limit }: Xielu, x: number): number {
  if (x > 0) return positive * x * x + linear * x;
  return (Math.expm1(Math.min(x, limit)) - x) * negative + linear * x;
}

/** @source Spark Transformer, You et al. 2025: the greatest values of a row, as if it were normally distributed */
export function sparsifyRow(x: Float32Array, deviations: number): void {
  let sum = 0;
  for (const v of x) sum += v;
  const mean = sum / x.length;
  let squares = 0;
  for (const v of x) squares += (v - mean) ** 2;
  const least = mean + deviations * Math.sqrt(squares / (x.length - 1));
  for (let i = 0; i < x.length; i++) x[i] = Math.max(x[i]! - least, 0);
}

/** Streams of all parts in order. */
function streamsOf(parts: readonly Float32Array[], dim: number): Float32Array[] {
  return parts.flatMap((part) =>
    Array.from({ length: part.length / dim }, (_, s) => part.subarray(s * dim, (s + 1) * dim)),
  );
}

export function blendRow(
  out: Float32Array,
  parts: readonly Float32Array[],
  weights: Float32Array,
  streams: number,
): void {
  const dim = out.length / streams;
  const from = streamsOf(parts, dim);
  for (let i = 0; i < out.length; i++) {
    const d = Math.floor(i / dim);
    let sum = 0;
    for (const [j, stream] of from.entries()) sum += weights[d * from.length + j]! * stream[i % dim]!;
    out[i] = sum;
  }
}

/** @source Kimi Team 2026, attention residuals */
export function scoresOfStreams(
  out: Float32Array,
  parts: readonly Float32Array[],
  weight: Float32Array,
  eps: number,
): void {
  const dim = weight.length;
  const scores = streamsOf(parts, dim).map((stream) => {
    let squares = 0;
    let product = 0;
    for (let e = 0; e < dim; e++) {
      squares += stream[e]! ** 2;
      product += stream[e]! * weight[e]!;
    }
    return product / Math.sqrt(squares / dim + eps);
  });
  const most = Math.max(...scores);
  const powers = scores.map((score) => Math.exp(score - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  for (const [j, power] of powers.entries()) out[j] = power / sum;
}

export function hyperRow(
  pre: Float32Array,
  mix: Float32Array,
  x: Float32Array,
  scale: Float32Array,
  base: Float32Array,
  iterations: number,
  eps: number,
): void {
  const h = pre.length;
  const raw = Float64Array.from(x, (v, i) => v * scale[i < h ? 0 : i < 2 * h ? 1 : 2]! + base[i]!);
  for (let i = 0; i < h; i++) pre[i] = sigmoid(raw[i]!) + eps;
  /** [destination, source] */
  let comb = Float64Array.from({ length: h * h }, (_, i) => raw[2 * h + (i % h) * h + Math.floor(i / h)]!);
  const sums = (along: "sources" | "destinations", values: Float64Array): Float64Array => {
    const out = new Float64Array(h);
    for (let i = 0; i < h * h; i++) out[along === "sources" ? Math.floor(i / h) : i % h]! += values[i]!;
    return out;
  };
  const most = new Float64Array(h).fill(-Infinity);
  for (let i = 0; i < h * h; i++) most[i % h] = Math.max(most[i % h]!, comb[i]!);
  comb = comb.map((v, i) => Math.exp(v - most[i % h]!));
  const total = sums("destinations", comb);
  comb = comb.map((v, i) => v / total[i % h]! + eps);
  const even = (along: "sources" | "destinations"): void => {
    const by = sums(along, comb);
    comb = comb.map((v, i) => v / (by[along === "sources" ? Math.floor(i / h) : i % h]! + eps));
  };
  even("sources");
  for (let i = 1; i < iterations; i++) {
    even("destinations");
    even("sources");
  }
  for (let d = 0; d < h; d++) {
    mix[d * (1 + h)] = 2 * sigmoid(raw[h + d]!);
    for (let s = 0; s < h; s++) mix[d * (1 + h) + 1 + s] = comb[d * h + s]!;
  }
}

/** A row for each run of rows of one sequence. */
export function poolRows(
  sequences: Int32Array,
  kind: Pooling,
  rowOf: (t: number) => Float32Array,
  outOf: (s: number) => Float32Array,
): void {
  for (let t = 0, to = 0, end = 0; t < sequences.length; t = end, to++) {
    for (end = t + 1; end < sequences.length && sequences[end] === sequences[t]; ) end++;
    const out = outOf(to);
    if (kind === "mean") {
      for (let i = 0; i < out.length; i++) {
        let sum = 0;
        for (let r = t; r < end; r++) sum += rowOf(r)[i]!;
        out[i] = sum / (end - t);
      }
    } else out.set(rowOf(kind === "first" ? t : end - 1));
  }
}
