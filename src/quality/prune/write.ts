/** Writes a pruned model: the bytes of its tensors as they were, some megabytes at a time. */
import { SourceFiles } from "../../compress/source-files.js";
import { HundredweightError } from "../../errors.js";
import { dtypeOf, type Extent, type TensorInfo, type TensorSource, writeGguf } from "../../formats/index.js";
import type { Pruned, PrunedTensor } from "./layers.js";

const pieceBytes = 8 << 20;

/** @returns bytes of the file @throws FORMAT_UNSUPPORTED for tensors of several planes, FILE_IO, MODEL_CHANGED */
export async function writePruned(path: string, { metadata, tensors }: Pruned, signal?: AbortSignal): Promise<number> {
  const files = new SourceFiles();
  const sourceOf = ({ name, tensor, data: made }: PrunedTensor): TensorSource => {
    const dtype = dtypeOf(tensor.layout);
    if (dtype === undefined)
      throw new HundredweightError("FORMAT_UNSUPPORTED", `tensor '${tensor.name}' is of ${tensor.layout.name}`);
    const data = async function* (): AsyncGenerator<Uint8Array> {
      for (const extent of joined(extentsOf(tensor))) {
        for (let done = 0; done < extent.bytes; done += pieceBytes) {
          const piece = new Uint8Array(Math.min(pieceBytes, extent.bytes - done));
          await files.read(extent.file, extent.offset + done, piece);
          yield piece;
        }
      }
    };
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
  for (const extent of extents) {
    const last = out.at(-1);
    if (last !== undefined && last.file === extent.file && last.offset + last.bytes === extent.offset)
      out[out.length - 1] = { ...last, bytes: last.bytes + extent.bytes };
    else out.push(extent);
  }
  return out;
}

/** In the order of the values. */
const extentsOf = (tensor: TensorInfo): readonly Extent[] => tensor.planes.blocks!;
