/** Tensors without some of their rows. */
import { extentsWithin, type TensorInfo } from "../../formats/index.js";

/** Matrices of a stack, rows of a matrix, values of a vector: their bytes lie where they did. */
export function lastOf(tensor: TensorInfo, kept: Int32Array): TensorInfo {
  const all = tensor.planes.blocks!;
  const each = all.reduce((sum, { bytes }) => sum + bytes, 0) / tensor.shape.at(-1)!;
  const blocks = Array.from(kept, (at) => [...extentsWithin(all, at * each, each)]).flat();
  return { ...tensor, shape: [...tensor.shape.slice(0, -1), kept.length], planes: { blocks } };
}
