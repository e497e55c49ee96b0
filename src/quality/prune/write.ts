/** Writes a pruned model: the bytes of its tensors as they were, some megabytes at a time. */
import { type FileHandle, open } from "node:fs/promises";
import { HundredweightError } from "../../errors.js";
import { dtypeOf, type Extent, type TensorInfo, type TensorSource, writeGguf } from "../../formats/index.js";
import type { Pruned } from "./layers.js";

const pieceBytes = 8 << 20;

/** @returns bytes of the file @throws FORMAT_UNSUPPORTED for tensors of several planes, FILE_IO, MODEL_CHANGED */
export async function writePruned(path: string, { metadata, tensors }: Pruned, signal?: AbortSignal): Promise<number> {
  const handles = new Map<string, FileHandle>();
  const sourceOf = ({ name, tensor }: { name: string; tensor: TensorInfo }): TensorSource => {
    const dtype = dtypeOf(tensor.layout);
    if (dtype === undefined)
      throw new HundredweightError("FORMAT_UNSUPPORTED", `tensor '${tensor.name}' is of ${tensor.layout.name}`);
    const data = async function* (): AsyncGenerator<Uint8Array> {
      for (const extent of extentsOf(tensor)) {
        const handle = handles.get(extent.file) ?? (await open(extent.file, "r"));
        handles.set(extent.file, handle);
        for (let done = 0; done < extent.bytes; ) {
          const piece = new Uint8Array(Math.min(pieceBytes, extent.bytes - done));
          const { bytesRead } = await handle.read(piece, 0, piece.length, extent.offset + done);
          if (bytesRead === 0) throw new HundredweightError("MODEL_CHANGED", `${extent.file}: became shorter`);
          yield piece.subarray(0, bytesRead);
          done += bytesRead;
        }
      }
    };
    return { name, dtype, shape: tensor.shape, data };
  };
  try {
    return await writeGguf(path, { metadata, tensors: tensors.map(sourceOf) }, { ...(signal && { signal }) });
  } finally {
    for (const handle of handles.values()) await handle.close();
  }
}

/** In the order of the values. */
const extentsOf = (tensor: TensorInfo): readonly Extent[] => tensor.planes.blocks!;
