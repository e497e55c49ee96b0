/**
 * The formulas of the reference implementation, one function each: plain loops, every sum in double precision, rounded
 * to f32 once on the way out. Arrays are rows of activations.
 */
import type { ExpertGroups, Glu, RouteSpec } from "./ops.js";
import { actValue } from "./reference-values.js";

/**
 * out[o + i] = x[i] / sqrt(mean(x²) + eps) * w[i].  @source Zhang & Sennrich 2019, "Root Mean Square Layer
 * Normalization"
 */
export function rmsNormRow(
  out: Float32Array,
  x: Float32Array,
  weight: Float32Array | null,
  offset: number,
  cols: number,
  eps: number,
): void {
  let squares = 0;
  for (let i = 0; i < cols; i++) squares += x[offset + i]! * x[offset + i]!;
  const inverse = 1 / Math.sqrt(squares / cols + eps);
  for (let i = 0; i < cols; i++) out[offset + i] = x[offset + i]! * inverse * (weight === null ? 1 : weight[i]!);
}

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** act(gate) * up. @source `silu`: Shazeer 2020; `gelu-tanh`: Hendrycks 2016; `oai`: the gpt-oss model card */
export function gluValue(kind: Glu, gate: number, up: number): number {
  if (typeof kind === "object") {
    const { clamp, limit } = kind;
    const g = clamp === "before" ? Math.min(gate, limit) : gate;
    const silu = g * sigmoid(g);
    return Math.min(silu, limit) * Math.max(-limit, Math.min(limit, up));
  }
  switch (kind) {
    case "silu":
      return gate * sigmoid(gate) * up;
    case "gelu-tanh": {
      const inner = Math.sqrt(2 / Math.PI) * (gate + 0.044715 * gate ** 3);
      return 0.5 * gate * (1 + Math.tanh(inner)) * up;
    }
    case "oai": {
      const g = Math.min(gate, 7);
      const u = Math.max(-7, Math.min(7, up));
      return g * sigmoid(1.702 * g) * (u + 1);
    }
  }
}

function softmax(values: Float64Array): Float64Array {
  let max = -Infinity;
  for (const v of values) max = Math.max(max, v);
  const out = values.map((v) => Math.exp(v - max));
  let sum = 0;
  for (const v of out) sum += v;
  return out.map((v) => v / sum);
}

/** Smallest divisor of a renormalisation: the least normal f16, as llama.cpp has it. */
const leastWeightSum = 6.103515625e-5;

/** The score of every expert without the selection bias: it becomes a weight. */
function probabilitiesOf(logits: Float32Array, { score }: RouteSpec): Float64Array {
  const raw = Float64Array.from(logits);
  if (score === "softmax") return softmax(raw);
  if (score === "root-softplus") return raw.map((logit) => Math.sqrt(actValue("softplus", logit)));
  return score === "sigmoid" ? raw.map(sigmoid) : raw;
}

/** The scores by which experts are chosen.  @shape logits [experts] */
export function routeScores(logits: Float32Array, spec: RouteSpec, bias: Float32Array | null): Float64Array {
  const scores = probabilitiesOf(logits, spec).map((p, e) => p + (bias?.[e] ?? 0));
  return spec.groups === undefined ? scores : bestGroups(scores, spec.groups);
}

/** Experts of groups that are not among the best cannot be chosen. */
function bestGroups(scores: Float64Array, { count, used }: ExpertGroups): Float64Array {
  const size = scores.length / count;
  const sums = Array.from({ length: count }, (_, g) => {
    const [first = 0, second = 0] = Array.from(scores.subarray(g * size, (g + 1) * size)).sort((a, b) => b - a);
    return first + second;
  });
  const kept = new Set(
    Array.from(sums.keys())
      .sort((a, b) => sums[b]! - sums[a]! || a - b)
      .slice(0, used),
  );
  return scores.map((score, e) => (kept.has(Math.floor(e / size)) ? score : -Infinity));
}

/** The experts that a table has for a token; undefined where it names one that is not there, or one twice. */
export function listedExperts(table: Float32Array, token: number, topK: number, experts: number): number[] | undefined {
  const ids = Array.from(table.subarray(token * topK, (token + 1) * topK));
  const good = ids.length === topK && ids.every((id, i) => id >= 0 && id < experts && ids.indexOf(id) === i);
  return good ? ids : undefined;
}

/**
 * Chooses the experts of one token row, unless they are given: ids in rank order and their weights.
 * @shape logits [experts]
 */
export function routeRow(
  logits: Float32Array,
  spec: RouteSpec,
  bias: Float32Array | null,
  factors: Float32Array | null = null,
  given?: readonly number[],
): { ids: readonly number[]; weights: number[] } {
  const probabilities = probabilitiesOf(logits, spec);
  const ids = given ?? bestOf(routeScores(logits, spec, bias), spec.topK);
  let weights = ids.map((e) => probabilities[e]!);
  if (spec.score === "softmax-selected") weights = Array.from(softmax(Float64Array.from(weights)));
  if (spec.renormalize) {
    const sum = Math.max(
      weights.reduce((a, b) => a + b, 0),
      leastWeightSum,
    );
    weights = weights.map((w) => w / sum);
  }
  return { ids, weights: weights.map((w, rank) => w * spec.scale * (factors?.[ids[rank]!] ?? 1)) };
}

const bestOf = (scores: Float64Array, topK: number): number[] =>
  Array.from(scores.keys())
    .sort((a, b) => scores[b]! - scores[a]! || a - b)
    .slice(0, topK);

/** Rotates one head in place by `position`.  @source Su et al. 2021, "RoFormer" */
export function ropeHead(
  x: Float32Array,
  offset: number,
  position: number,
  frequencies: Float64Array,
  magnitude: number,
  interleaved: boolean,
): void {
  const pairs = frequencies.length;
  for (let i = 0; i < pairs; i++) {
    const cos = Math.cos(position * frequencies[i]!) * magnitude;
    const sin = Math.sin(position * frequencies[i]!) * magnitude;
    const a = offset + (interleaved ? 2 * i : i);
    const b = offset + (interleaved ? 2 * i + 1 : i + pairs);
    const [xa, xb] = [x[a]!, x[b]!];
    x[a] = xa * cos - xb * sin;
    x[b] = xa * sin + xb * cos;
  }
}

/** One attention row: softmax of scores (and of an extra logit that has no value) in place.  @shape scores [keys] */
export function softmaxWithSink(scores: Float64Array, keys: number, sink: number): void {
  let max = sink;
  for (let i = 0; i < keys; i++) max = Math.max(max, scores[i]!);
  let sum = sink === -Infinity ? 0 : Math.exp(sink - max);
  for (let i = 0; i < keys; i++) {
    const e = Math.exp(scores[i]! - max);
    scores[i] = e;
    sum += e;
  }
  for (let i = 0; i < keys; i++) scores[i] = scores[i]! / sum;
}

export function softcapValue(x: number, cap: number): number {
  return cap * Math.tanh(x / cap);
}
