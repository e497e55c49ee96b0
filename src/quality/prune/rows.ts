/** Tensors without some of their rows. */
import { extentsWithin, type GgufCheckpoint, type TensorInfo, type TypedValue } from "../../formats/index.js";
import type { Pruned, PrunedTensor } from "./layers.js";

/** Matrices of a stack, rows of a matrix, values of a vector: their bytes lie where they did. */
export function lastOf(tensor: TensorInfo, kept: Int32Array): TensorInfo {
  const all = tensor.planes.blocks!;
  const each = all.reduce((sum, { bytes }) => sum + bytes, 0) / tensor.shape.at(-1)!;
  const blocks = Array.from(kept, (at) => [...extentsWithin(all, at * each, each)]).flat();
  return { ...tensor, shape: [...tensor.shape.slice(0, -1), kept.length], planes: { blocks } };
}

/** A model of which some tensors and some values of its metadata are others. */
export function withTensors(
  checkpoint: GgufCheckpoint,
  changed: ReadonlyMap<string, PrunedTensor>,
  values: ReadonlyMap<string, TypedValue>,
): Pruned {
  const metadata = new Map<string, TypedValue>([...checkpoint.metadata.entries(), ...values]);
  for (const name of metadata.keys()) if (name.startsWith("split.")) metadata.delete(name);
  const tensors = [...checkpoint.tensors.values()].map(
    (tensor) => changed.get(tensor.name) ?? { name: tensor.name, tensor },
  );
  return { metadata, tensors };
}
