import type { AttentionSpec } from "./ops.js";
import { pagePositions } from "./ops.js";
import { decodeHead, type ReferenceKvPool } from "./reference-kv.js";
import { softcapValue, softmaxWithSink } from "./reference-math.js";

/**
 * One query head of one token row over the row's own sequence. Scores of all keys are held as doubles, so the softmax
 * needs no running maximum and no merging of pieces.
 * @shape out [headDimV], query [headDimK]
 */
export function attendHead(
  out: Float32Array,
  query: Float32Array,
  cache: ReferenceKvPool,
  layer: number,
  head: number,
  position: number,
  pageOf: (key: number) => DataView,
  spec: AttentionSpec,
  sink: number,
  /** ALiBi of the head; 0: none. */
  slope: number,
  /** Position of the sequence's last row in the pass. */
  last: number,
): void {
  const layout = cache.layout[layer]!;
  const kvHead = Math.floor(head / (spec.heads / spec.kvHeads));
  const { window, reach = "back" } = spec;
  const before = reach === "chunk" ? position % window : reach === "symmetric" ? window : window - 1;
  const first = window === 0 ? 0 : Math.max(0, position - before);
  const end = reach !== "symmetric" ? position : window === 0 ? last : Math.min(last, position + window);
  const keys = end - first + 1;
  const scores = new Float64Array(keys);
  const row = new Float32Array(Math.max(spec.headDimK, spec.headDimV));

  for (let i = 0; i < keys; i++) {
    const slot = kvHead * pagePositions + ((first + i) % pagePositions);
    decodeHead(cache.type, pageOf(first + i), layout.keys + slot * layout.keyBytes, spec.headDimK, row);
    let product = 0;
    for (let d = 0; d < spec.headDimK; d++) product += query[d]! * row[d]!;
    const score = product * spec.scale;
    const capped = spec.softcap === 0 ? score : softcapValue(score, spec.softcap);
    scores[i] = capped - slope * Math.abs(position - first - i);
  }
  softmaxWithSink(scores, keys, sink);

  const sum = new Float64Array(spec.headDimV);
  for (let i = 0; i < keys; i++) {
    const slot = kvHead * pagePositions + ((first + i) % pagePositions);
    decodeHead(cache.type, pageOf(first + i), layout.values + slot * layout.valueBytes, spec.headDimV, row);
    for (let d = 0; d < spec.headDimV; d++) sum[d] = sum[d]! + scores[i]! * row[d]!;
  }
  out.set(sum);
}
