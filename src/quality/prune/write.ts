/** Writes a pruned model: the bytes of its tensors as they were, some megabytes at a time. */
import { SourceFiles } from "../../compress/source-files.js";
import { HundredweightError } from "../../errors.js";
import { append, dtypeOf, type Extent, type TensorInfo, type TensorSource, writeGguf } from "../../formats/index.js";
import type { Pruned, PrunedTensor } from "./layers.js";

/** @returns bytes of the file @throws FORMAT_UNSUPPORTED for tensors of several planes, FILE_IO, MODEL_CHANGED */
export async function writePruned(path: string, { metadata, tensors }: Pruned, signal?: AbortSignal): Promise<number> {
  const files = new SourceFiles();
  const sourceOf = ({ name, tensor, data: made }: PrunedTensor): TensorSource => {
    const dtype = dtypeOf(tensor.layout);
    if (dtype === undefined)
      throw new HundredweightError("FORMAT_UNSUPPORTED", `tensor '${tensor.name}' is of ${tensor.layout.name}`);
    const data = () => files.pieces(joined(extentsOf(tensor)));
    return { name, dtype, shape: tensor.shape, data: made ?? data };
  };
  try {
    return await writeGguf(path, { metadata, tensors: tensors.map(sourceOf) }, { ...(signal && { signal }) });
  } finally {
    await files.close();
  }
}

/** Extents that follow each other as one: rows that stay are read together. */
function joined(extents: readonly Extent[]): Extent[] {
  const out: Extent[] = [];
  for (const extent of extents) append(out, extent);
  return out;
}

/** In the order of the values. */
const extentsOf = (tensor: TensorInfo): readonly Extent[] => tensor.planes.blocks!;
