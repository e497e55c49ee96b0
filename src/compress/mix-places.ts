/**
 * The kinds llama-quantize sorts tensors into, and how it counts: values of attention are counted over all layers that
 * have any, those of fused products among them; the matrices of an FFN by their layer where there are experts.
 * @source llama.cpp, src/llama-quant.cpp
 */
export interface MixModel {
  /** Blocks, those that guess further tokens included. */
  readonly layers: number;
  /** In the first layer. */
  readonly heads: number;
  readonly kvHeads: number;
  readonly experts: number;
  /** An importance matrix is there. */
  readonly weighed?: boolean;
  /** Falcon's own rules. */
  readonly falcon?: boolean;
}

export interface MixTensor {
  readonly name: string;
  readonly shape: readonly number[];
}

export type MixKind = "head" | "table" | "value" | "key" | "query" | "output" | "gate" | "up" | "down" | "other";

export interface MixPlace {
  readonly kind: MixKind;
  readonly index: number;
  /** How many of that kind the model has. */
  readonly count: number;
  /** Tensors of the kind before it; more than its index where a layer has several. */
  readonly before: number;
}

/** Parts of a name, the first that is in it decides. */
const kinds: readonly (readonly [part: string, kind: MixKind])[] = [
  ["attn_qkv.weight", "value"],
  ["attn_kv_b.weight", "value"],
  ["attn_v.weight", "value"],
  ["attn_k.weight", "key"],
  ["attn_q.weight", "query"],
  ["attn_output.weight", "output"],
  ["ffn_up", "up"],
  ["ffn_gate", "gate"],
  ["ffn_down", "down"],
];
const tables: readonly string[] = ["token_embd.weight", "per_layer_token_embd.weight"];

function kindOf(name: string, tied: boolean): MixKind {
  if (name === "output.weight") return "head";
  // Without a head of its own a model reads its logits off the table.
  if (tables.includes(name)) return tied ? "head" : "table";
  return kinds.find(([part]) => name.includes(part))?.[1] ?? "other";
}

const layerOf = (name: string): number => Number(/^blk\.(\d+)\./.exec(name)?.[1] ?? -1);

/**
 * The place of each tensor, by name.
 * @param counts which of them move the counters on; those whose type is given by name do not
 */
export function mixPlaces(
  model: MixModel,
  tensors: readonly MixTensor[],
  counts: (name: string) => boolean = () => true,
): Map<string, MixPlace> {
  const names = tensors.map(({ name }) => name);
  const tied = !names.includes("output.weight");
  const values = names.filter((name) => kindOf(name, tied) === "value").length;
  const seen = new Map<MixKind, number>();
  const places = new Map<string, MixPlace>();
  for (const name of names.toSorted((a, b) => layerOf(a) - layerOf(b) || (a < b ? -1 : 1))) {
    const kind = kindOf(name, tied);
    const before = seen.get(kind) ?? 0;
    if (counts(name)) seen.set(kind, before + 1);
    const ffn = kind === "gate" || kind === "up" || kind === "down";
    const index = ffn && model.experts > 1 ? layerOf(name) : before;
    places.set(name, { kind, index, count: kind === "value" ? values : model.layers, before });
  }
  return places;
}

/** The first and last eighth, and every third between. */
export function moreBits(index: number, count: number): boolean {
  const eighth = Math.floor(count / 8);
  return index < eighth || index >= Math.floor((7 * count) / 8) || (index - eighth) % 3 === 2;
}
