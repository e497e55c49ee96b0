/** Attention of the reference: one query head of one token row at a time; all scores are held, as doubles. */
import type { AttentionSpec } from "./ops.js";
import { pagePositions } from "./ops.js";
import { decodeHead, type ReferenceKvPool } from "./reference-kv.js";
import { softcapValue, softmaxWithSink } from "./reference-math.js";

/** A layer's keys and values of one sequence. */
export interface Past {
  readonly cache: ReferenceKvPool;
  readonly layer: number;
  pageOf(position: number): DataView;
  readonly decoded: DecodedHeads;
}

/** Rows of heads that were decoded: of a verb's query heads and token rows many want the same ones. */
export class DecodedHeads {
  readonly #pages = new Map<DataView, Map<number, Float32Array>>();
  #count = 0;
  /** Bounds their memory; what is beyond is decoded each time. */
  static readonly most = 8192;

  row(page: DataView, at: number, decode: () => Float32Array): Float32Array {
    const known = this.#pages.get(page)?.get(at);
    if (known !== undefined) return known;
    const row = decode();
    if (this.#count++ >= DecodedHeads.most) return row;
    const rows = this.#pages.get(page) ?? new Map<number, Float32Array>();
    this.#pages.set(page, rows.set(at, row));
    return row;
  }
}

/** A query head of one token row. */
export interface AttendedHead {
  readonly index: number;
  readonly kvHead: number;
  /** The row's. */
  readonly position: number;
  /** -Infinity: none. */
  readonly sink: number;
  /** ALiBi; 0: none. */
  readonly slope: number;
}

/** The positions that a row sees; `last` is that of the sequence's last row in the pass. */
export function seenBy(position: number, last: number, { window, reach = "back" }: AttentionSpec): number[] {
  const before = reach === "chunk" ? position % window : reach === "symmetric" ? window : window - 1;
  const first = window === 0 ? 0 : Math.max(0, position - before);
  const end = reach !== "symmetric" ? position : window === 0 ? last : Math.min(last, position + window);
  return Array.from({ length: end - first + 1 }, (_, i) => first + i);
}

/** Every key of a head at these positions, decoded; `use` has it during the call. */
function eachRow(
  { cache, layer, pageOf, decoded }: Past,
  what: "keys" | "values",
  kvHead: number,
  positions: readonly number[],
  use: (row: Float32Array, i: number) => void,
): void {
  const layout = cache.layout[layer]!;
  const [start, bytes, values] =
    what === "keys"
      ? [layout.keys, layout.keyBytes, layout.headDimK]
      : [layout.values, layout.valueBytes, layout.headDimV];
  const type = cache.typeOf(layout, what);
  for (const [i, position] of positions.entries()) {
    const at = start + (kvHead * pagePositions + (position % pagePositions)) * bytes;
    const page = pageOf(position);
    const row = decoded.row(page, at, () => {
      const out = new Float32Array(values);
      decodeHead(type, page, at, values, out);
      return out;
    });
    use(row, i);
  }
}

function scoresOf(
  query: Float32Array,
  past: Past,
  { kvHead, position, slope }: AttendedHead,
  positions: readonly number[],
  spec: AttentionSpec,
): Float64Array {
  const scores = new Float64Array(positions.length);
  eachRow(past, "keys", kvHead, positions, (row, i) => {
    let product = 0;
    for (let d = 0; d < query.length; d++) product += query[d]! * row[d]!;
    const score = product * spec.scale;
    const capped = spec.softcap === 0 ? score : softcapValue(score, spec.softcap);
    scores[i] = capped - slope * Math.abs(position - positions[i]!);
  });
  return scores;
}

/** @shape out [headDimV], query [headDimK] */
export function attendHead(
  out: Float32Array,
  query: Float32Array,
  past: Past,
  head: AttendedHead,
  positions: readonly number[],
  spec: AttentionSpec,
): void {
  const scores = scoresOf(query, past, head, positions, spec);
  softmaxWithSink(scores, positions.length, head.sink);
  out.set(weightedValues(past, head.kvHead, positions, scores, spec.headDimV));
}

function weightedValues(past: Past, kvHead: number, positions: readonly number[], weights: Float64Array, dim: number) {
  const sum = new Float64Array(dim);
  eachRow(past, "values", kvHead, positions, (row, i) => {
    for (let d = 0; d < dim; d++) sum[d] = sum[d]! + weights[i]! * row[d]!;
  });
  return sum;
}

/**
 * One of several sources: `out` and the two carried values are what those before left, and are left for those after;
 * the last source's call ends with the sink and the division.
 * @shape carry [2 * heads], the largest scores and the sums of weights
 */
export function attendPart(
  out: Float32Array,
  carry: Float32Array,
  query: Float32Array,
  past: Past,
  head: AttendedHead,
  positions: readonly number[],
  spec: AttentionSpec,
): void {
  const [m, l] = [head.index, spec.heads + head.index];
  const place = spec.part!.place;
  const scores = scoresOf(query, past, head, positions, spec);
  const own = scores.reduce((most, score) => Math.max(most, score), -Infinity);
  const before = place === "first" ? -Infinity : carry[m]!;
  const max = Math.max(own, before, place === "last" ? head.sink : -Infinity);
  // Nothing was seen so far, or at all.
  if (max === -Infinity) {
    out.fill(0);
    [carry[m], carry[l]] = [max, 0];
    return;
  }
  const weights = scores.map((score) => Math.exp(score - max));
  const old = place === "first" ? 0 : Math.exp(before - max);
  let sum = weights.reduce((total, weight) => total + weight, old === 0 ? 0 : carry[l]! * old);
  if (place === "last" && head.sink !== -Infinity) sum += Math.exp(head.sink - max);
  const values = weightedValues(past, head.kvHead, positions, weights, spec.headDimV);
  const divisor = place === "last" ? sum : 1;
  for (const [d, value] of values.entries()) out[d] = (value + (old === 0 ? 0 : out[d]! * old)) / divisor;
  carry[m] = max;
  carry[l] = sum;
}

/** Scores of the positions up to a row's last: the sum over heads of weight * max(q · key, 0). */
export function positionScores(query: Float32Array, weights: Float32Array, past: Past, position: number): Float64Array {
  const heads = weights.length;
  const dim = query.length / heads;
  const positions = Array.from({ length: position + 1 }, (_, i) => i);
  const scores = new Float64Array(position + 1);
  eachRow(past, "keys", 0, positions, (row, i) => {
    let score = 0;
    for (let h = 0; h < heads; h++) {
      let product = 0;
      for (let d = 0; d < dim; d++) product += query[h * dim + d]! * row[d]!;
      score += weights[h]! * Math.max(product, 0);
    }
    scores[i] = Number.isNaN(score) ? -Infinity : score;
  });
  return scores;
}

/** The best positions in ascending order. Sorting is stable: of equal scores the earlier position is first. */
export function bestPositions(scores: Float64Array, topK: number): number[] {
  const positions = Array.from(scores.keys());
  const best = positions.sort((a, b) => scores[b]! - scores[a]!).slice(0, topK);
  return best.sort((a, b) => a - b);
}
