/** A GGUF model with fewer layers: tensors under new numbers, and metadata that counts layers or lists them cut. */
import { HundredweightError } from "../../errors.js";
import type { GgufCheckpoint, TensorInfo, TypedValue } from "../../formats/index.js";
import { type Checkpoint, TypedMetadata } from "../../formats/index.js";
import { describeModel } from "../../models/index.js";

/** Name in the new file, and tensor of the old one; `data`: its bytes, where they are others. */
export interface PrunedTensor {
  readonly name: string;
  readonly tensor: TensorInfo;
  readonly data?: () => AsyncGenerator<Uint8Array>;
}

/** A model as it is to be written. */
export interface Pruned {
  readonly metadata: Map<string, TypedValue>;
  readonly tensors: readonly PrunedTensor[];
}

const layerOf = (name: string): number | undefined => {
  const found = /^blk\.(\d+)\./.exec(name)?.[1];
  return found === undefined ? undefined : Number(found);
};

/**
 * The layers that change least of what goes through them; those that guess further tokens stay.
 * @param influence of each layer of the trunk
 */
export function leastInfluential(influence: Float64Array, count: number): number[] {
  if (!(count < influence.length))
    throw new HundredweightError("OPTION_INVALID", `--layers ${count}: the model has ${influence.length}`);
  const order = [...influence.keys()].sort((a, b) => influence[a]! - influence[b]! || a - b);
  return order.slice(0, count).sort((a, b) => a - b);
}

/**
 * @param dropped layers, ascending
 * @throws OPTION_INVALID where layers differ in a pattern that the cut would move, MODEL_INVALID
 */
export function withoutLayers(checkpoint: GgufCheckpoint, dropped: readonly number[]): Pruned {
  const arch = checkpoint.metadata.string("general.architecture") ?? "";
  const layers = checkpoint.metadata.number(`${arch}.block_count`) ?? 0;
  const kept = Array.from({ length: layers }, (_, i) => i).filter((i) => !dropped.includes(i));
  const numbers = new Map(kept.map((old, now) => [old, now]));
  const metadata = new Map<string, TypedValue>();
  for (const [key, value] of checkpoint.metadata.entries())
    if (!key.startsWith("split.")) metadata.set(key, key.startsWith(`${arch}.`) ? cut(value, kept, layers) : value);
  const count = (key: string, of: (value: number) => number): void => {
    const value = metadata.get(`${arch}.${key}`);
    if (value === undefined || value.type === "array") return;
    metadata.set(`${arch}.${key}`, { ...value, value: of(Number(value.value)) } as TypedValue);
  };
  count("block_count", () => kept.length);
  count("nextn_predict_layers", (guessing) => kept.filter((layer) => layer >= layers - guessing).length);
  count("leading_dense_block_count", (dense) => kept.filter((layer) => layer < dense).length);
  const tensors = [...checkpoint.tensors.values()].flatMap((tensor) => {
    const layer = layerOf(tensor.name);
    if (layer === undefined) return [{ name: tensor.name, tensor }];
    const now = numbers.get(layer);
    return now === undefined ? [] : [{ name: tensor.name.replace(/^blk\.\d+/, `blk.${now}`), tensor }];
  });
  checkLayers(checkpoint, { metadata, tensors }, kept);
  return { metadata, tensors };
}

/** A list of one entry a layer loses those of layers that go. */
function cut(value: TypedValue, kept: readonly number[], layers: number): TypedValue {
  if (value.type !== "array" || typeof value.value !== "object") return value;
  const list = value.value as unknown as ArrayLike<number | bigint | boolean> & { readonly constructor: unknown };
  if (list.length !== layers || !(ArrayBuffer.isView(list) || Array.isArray(list))) return value;
  const values = kept.map((layer) => list[layer]!);
  if (Array.isArray(list)) return { ...value, value: values } as TypedValue;
  const Kind = list.constructor as { from(values: readonly unknown[]): unknown };
  return { ...value, value: Kind.from(values) } as TypedValue;
}

/** The pruned model as one that is opened; its bytes lie where they did. */
export function prunedCheckpoint(checkpoint: Checkpoint, { metadata, tensors }: Pruned): Checkpoint {
  return {
    ...checkpoint,
    metadata: new TypedMetadata(metadata, checkpoint.path),
    tensors: new Map(tensors.map(({ name, tensor }) => [name, { ...tensor, name }])),
  };
}

/**
 * A layer has to do what it did: where kinds of layers follow a pattern of their numbers, a cut that moves it makes
 * another model.
 */
function checkLayers(checkpoint: GgufCheckpoint, pruned: Pruned, kept: readonly number[]): void {
  const before = signatures(checkpoint);
  const after = signatures(prunedCheckpoint(checkpoint, pruned));
  const moved = after.findIndex((signature, now) => signature !== before[kept[now]!]);
  if (moved < 0) return;
  throw new HundredweightError(
    "OPTION_INVALID",
    `layer ${kept[moved]} would be layer ${moved}, and this architecture has another kind of layer there: ` +
      "its layers follow a pattern that this cut breaks",
  );
}

/** The calls of each layer of the trunk, but for the numbers in names. */
function signatures(checkpoint: Checkpoint): string[] {
  const { program } = describeModel(checkpoint);
  return program.layers.slice(0, -1).map((start, layer) => {
    const own = program.calls.slice(start, program.layers[layer + 1]);
    const of = own.filter(({ hint }) => !hint).map(({ inputs: _, outputs: __, ...operation }) => operation);
    return JSON.stringify(of, (key, value: unknown) => {
      if (key === "name" || key === "info" || key === "layer" || key === "id") return undefined;
      return typeof value === "bigint" ? String(value) : value;
    });
  });
}
