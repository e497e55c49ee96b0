/** Tensors without some of their rows. */
import type { Extent, TensorInfo } from "../../formats/index.js";

/** Matrices of a stack, rows of a matrix, values of a vector: their bytes lie where they did. */
export function lastOf(tensor: TensorInfo, kept: Int32Array): TensorInfo {
  const all = tensor.planes.blocks!;
  const each = all.reduce((sum, { bytes }) => sum + bytes, 0) / tensor.shape.at(-1)!;
  const blocks = Array.from(kept, (at) => [...part(all, at * each, each)]).flat();
  return { ...tensor, shape: [...tensor.shape.slice(0, -1), kept.length], planes: { blocks } };
}

function* part(all: readonly Extent[], from: number, bytes: number): Generator<Extent> {
  let [skip, left] = [from, bytes];
  for (const extent of all) {
    const taken = Math.min(left, extent.bytes - skip);
    if (taken > 0) {
      yield { file: extent.file, offset: extent.offset + skip, bytes: taken };
      left -= taken;
    }
    skip = Math.max(0, skip - extent.bytes);
  }
}
