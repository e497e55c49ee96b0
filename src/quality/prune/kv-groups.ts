/** A GGUF model with fewer key-value groups: those whose part of attention's output is smallest go. */
import type { Moments } from "../../compress/moments.js";
import { HundredweightError } from "../../errors.js";
import type { Checkpoint, GgufCheckpoint, TensorInfo, TypedValue } from "../../formats/index.js";
import { describeModel } from "../../models/index.js";
import { ColumnCut, type ColumnOptions, largest } from "./columns.js";
import { type Pruned, type PrunedTensor, prunedCheckpoint } from "./layers.js";
import { lastOf, withTensors } from "./rows.js";

const refuse = (what: string): HundredweightError => new HundredweightError("OPTION_INVALID", `--kv-groups: ${what}`);

/** Tensors of a layer's attention that have nothing of one head. */
const ofAllHeads = /^attn_(?:norm|norm_2|post_norm|output)\.(?:weight|bias)$/;
const ofOneHead = /^attn_[qk]_norm\.(?:weight|bias)$/;

interface Heads {
  readonly heads: number;
  readonly groups: number;
}

/**
 * A group is a head of keys and values with the heads of queries that read it; all layers keep the same number.
 * @param keep groups of every layer that stay
 * @throws OPTION_INVALID for attention of another form, layers of different heads, quantized output matrices and
 *   moments of another model
 */
export async function withoutKvGroups(
  checkpoint: GgufCheckpoint,
  moments: Moments,
  keep: number,
  options: ColumnOptions = {},
): Promise<Pruned> {
  const arch = checkpoint.metadata.string("general.architecture") ?? "";
  const before = new Map(checkpoint.metadata.entries());
  const number = (key: string): number | undefined => {
    const said = before.get(`${arch}.${key}`);
    return said === undefined || said.type === "array" ? undefined : Number(said.value);
  };
  const [heads, groups] = [number("attention.head_count"), number("attention.head_count_kv")];
  if (heads === undefined || groups === undefined || !(groups > 0) || heads % groups !== 0)
    throw refuse("the layers of this model differ in heads, or it does not say how many it has");
  if (!(keep >= 1 && keep < groups)) throw refuse(`${keep} of ${groups} groups: from 1 to ${groups - 1}`);
  const cut = new ColumnCut(moments, options, refuse);
  const changed = new Map<string, PrunedTensor>();
  const layers = checkpoint.metadata.number(`${arch}.block_count`) ?? 0;
  for (let layer = 0; layer < layers; layer++)
    for (const each of await layerWithout(checkpoint, layer, { heads, groups }, keep, cut))
      changed.set(each.name, each);
  const headLength = (number("embedding_length") ?? 0) / heads;
  const values = new Map<string, TypedValue>([
    ["attention.head_count", { type: "u32", value: (heads / groups) * keep }],
    ["attention.head_count_kv", { type: "u32", value: keep }],
    // Both are derived from the number of heads where a file does not say them.
    ["attention.key_length", before.get(`${arch}.attention.key_length`) ?? { type: "u32", value: headLength }],
    ["attention.value_length", before.get(`${arch}.attention.value_length`) ?? { type: "u32", value: headLength }],
  ]);
  const pruned = withTensors(checkpoint, changed, new Map([...values].map(([key, v]) => [`${arch}.${key}`, v])));
  checkAttention(checkpoint, prunedCheckpoint(checkpoint, pruned));
  return pruned;
}

/** The tensors of a layer that change. */
async function layerWithout(
  checkpoint: GgufCheckpoint,
  layer: number,
  { heads, groups }: Heads,
  keep: number,
  cut: ColumnCut,
): Promise<PrunedTensor[]> {
  const prefix = `blk.${layer}.`;
  const matrix = (part: string, size: number, axis: 0 | 1): TensorInfo => {
    const tensor = checkpoint.tensors.get(`${prefix}attn_${part}.weight`);
    if (tensor === undefined || tensor.shape.length !== 2 || tensor.shape[axis]! % size !== 0)
      throw refuse(`layer ${layer} has no matrix '${prefix}attn_${part}.weight' of ${size} heads`);
    return tensor;
  };
  const [q, k, v] = [matrix("q", heads, 1), matrix("k", groups, 1), matrix("v", groups, 1)];
  const output = matrix("output", heads, 0);
  const shares = await cut.shares(output);
  const kept = largest(sums(shares, groups), keep);
  const rows = (total: number): Int32Array => within(kept, total / groups);
  const changes = [cut.without(output, rows(shares.length))];
  const cutRows = (tensor: TensorInfo): void => {
    changes.push({ name: tensor.name, tensor: lastOf(tensor, rows(tensor.shape.at(-1)!)) });
  };
  for (const tensor of [q, k, v]) cutRows(tensor);
  for (const part of ["q.bias", "k.bias", "v.bias", "sinks.weight"]) {
    const tensor = checkpoint.tensors.get(`${prefix}attn_${part}`);
    if (tensor !== undefined) cutRows(tensor);
  }
  const done = new Set(changes.map(({ name }) => name));
  const headLength = k.shape[1]! / groups;
  for (const tensor of checkpoint.tensors.values()) {
    if (!tensor.name.startsWith(`${prefix}attn_`) || done.has(tensor.name)) continue;
    const name = tensor.name.slice(prefix.length);
    if (ofAllHeads.test(name) || (ofOneHead.test(name) && tensor.shape[0] === headLength)) continue;
    throw refuse(`'${tensor.name}' may have a part for each head too`);
  }
  return changes;
}

/** The sum of each of so many parts. */
function sums(values: Float64Array, parts: number): Float64Array {
  const out = new Float64Array(parts);
  const each = values.length / parts;
  for (const [i, value] of values.entries()) out[Math.floor(i / each)]! += value;
  return out;
}

/** The numbers of what lies within the parts that stay, where each has `size`. */
function within(kept: Int32Array, size: number): Int32Array {
  return Int32Array.from({ length: kept.length * size }, (_, i) => kept[Math.floor(i / size)]! * size + (i % size));
}

/** A head has to do what it did: some families derive its scale or slope from how many there are. */
function checkAttention(before: Checkpoint, after: Checkpoint): void {
  const said = (checkpoint: Checkpoint) =>
    describeModel(checkpoint).program.calls.flatMap((call) => {
      if (call.verb !== "attention") return [];
      if (call.alibi !== 0) throw refuse("what a head sees of distance depends on how many heads there are (ALiBi)");
      return [call.scale];
    });
  const [old, now] = [said(before), said(after)];
  if (old.some((scale, i) => scale !== now[i]))
    throw refuse("this architecture derives the scale of attention from the number of heads");
}
