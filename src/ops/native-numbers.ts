/** Makes numbers of what the addon is told: ids of names, and specs in a fixed order. */
import { HundredweightError } from "../errors.js";
import {
  activations,
  attentionParts,
  glus,
  kvTypes,
  limits,
  lookups,
  poolings,
  productInto,
  reaches,
  scores,
  slotKinds,
} from "../native/boundary.js";
import { idsOf } from "../native/named-numbers.js";
import type { AttentionSpec, ExpertPair, ExpertWeights, Glu, KvPoolSpec, Matrix, Product, SlotLayer } from "./ops.js";
import { expertSides } from "./pairs.js";
import { blockRows } from "./paper.js";

export const ids = {
  kvType: idsOf(kvTypes),
  glu: idsOf(glus),
  act: idsOf(activations),
  score: idsOf(scores),
  reach: idsOf(reaches),
  pooling: idsOf(poolings),
  lookup: idsOf(lookups),
  part: idsOf(attentionParts),
  into: idsOf(productInto),
  slot: idsOf(slotKinds),
};

/** [gate or 0, up, down, and their biases or 0] */
export function expertNumbers(into: Int32Array, { gate, up, down, ...biases }: ExpertWeights): Int32Array {
  const { gateBias, upBias, downBias } = biases;
  for (const [i, own] of [gate, up, down, gateBias, upBias, downBias].entries()) into[i] = own?.id ?? 0;
  return into;
}

const [noPairs, noFactors] = [new Int32Array(0), new Float32Array(0)];

/** Pairs beside experts as [side, a, b] each, and their factors for `n` rows one after the other. */
export function pairNumbers(
  pairs: readonly ExpertPair<Matrix>[],
  n: number,
): [numbers: Int32Array, factors: Float32Array] {
  if (pairs.length === 0) return [noPairs, noFactors];
  const numbers = Int32Array.from(pairs.flatMap(({ side, pair: { a, b } }) => [expertSides.indexOf(side), a.id, b.id]));
  const factors = new Float32Array(pairs.length * n);
  for (const [i, own] of pairs.entries()) factors.set(own.factors.subarray(0, n), i * n);
  return [numbers, factors];
}

/** The numbers of a layer of KV pages. */
export const kvLayer = ({ kvHeads, headDimK, headDimV, latent }: KvPoolSpec["layers"][number]): number[] => [
  kvHeads,
  headDimK,
  headDimV,
  latent ? 1 : 0,
];

/** The numbers of a layer, in the order of `slotLayerNumbers`. */
export function slotLayer(layer: SlotLayer): number[] {
  const kind = ids.slot[layer.kind];
  if (layer.kind === "tail") return [kind, 1, layer.rows, layer.columns, 1, 0, 1, 0, 0];
  if (layer.kind === "block") return [kind, 1, blockRows(layer), layer.columns, 1, 0, 1, 0, layer.every];
  const { heads, keys, values, keyHeads, pairing, decays, correct } = layer;
  return [kind, heads, keys, values, keyHeads, pairing === "tiled" ? 1 : 0, decays, correct ? 1 : 0, 0];
}

/** As the addon takes products: `productNumbers` each. */
export function productNumbers(products: readonly Product[]): Int32Array {
  if (products.length > limits.mostProducts)
    throw new HundredweightError(
      "NATIVE_ARGUMENT",
      `${products.length} products in one matmul, at most ${limits.mostProducts}`,
    );
  return Int32Array.from(
    products.flatMap(({ out, weight, bias, add, glu, transposed, heads = 1 }) => [
      out.id,
      weight.id,
      bias?.id ?? 0,
      ids.into[glu ?? (add ? "add" : "store")],
      transposed ? 1 : 0,
      heads,
    ]),
  );
}

/** The numbers of a spec as the addon takes them, always in the same order. */
export const attentionNumbers = (spec: AttentionSpec) => ({
  heads: spec.heads,
  scale: spec.scale,
  window: spec.window,
  softcap: spec.softcap,
  sinks: spec.sinks?.id ?? 0,
  reach: ids.reach[spec.reach ?? "back"],
  slopes: spec.slopes?.id ?? 0,
  selection: spec.selection?.id ?? 0,
  carry: spec.part?.carry.id ?? 0,
  place: ids.part[spec.part?.place ?? "whole"],
});
export type AttentionNumbers = ReturnType<typeof attentionNumbers>;

export const gluId = (kind: Glu): number => ids.glu[typeof kind === "string" ? kind : "silu"];
/** Negative where the gate is bounded after its SiLU; 0: no bounds. */
export function gluLimit(kind: Glu): number {
  if (typeof kind === "string") return 0;
  return kind.clamp === "after" ? -kind.limit : kind.limit;
}
