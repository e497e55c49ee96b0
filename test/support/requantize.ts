/** Rewrites a small model with its matrices in another tensor type: test fixtures in every dtype from one model. */
import { closeSync, openSync, readSync } from "node:fs";
import { quantizeRow } from "../../src/compress/quantize.js";
import {
  blocksBytes,
  type Dtype,
  dequantizeRow,
  dtypeByName,
  dtypeOf,
  onlyExtent,
  openGguf,
  type TypedValue,
  writeGguf,
} from "../../src/formats/index.js";

/**
 * Matrices whose rows are whole blocks of `name` become that type; the rest of the file is kept as it is, but for what
 * `edit` changes.
 */
export async function rewriteModel(
  from: string,
  to: string,
  name?: string,
  edit: (metadata: Map<string, TypedValue>) => void = () => {},
): Promise<void> {
  const dtype = name === undefined ? undefined : (dtypeByName(name) as Dtype);
  const checkpoint = await openGguf(from);
  const file = openSync(from, "r");
  const tensors = [...checkpoint.tensors.values()].map((info) => {
    const source = dtypeOf(info.layout) as Dtype;
    const extent = onlyExtent(info);
    const cols = info.shape[0] as number;
    const rows = info.shape.slice(1).reduce((a, b) => a * b, 1);
    const matrix = info.shape.length > 1 && !info.name.endsWith("_norm.weight");
    const target = matrix && dtype !== undefined && blocksBytes(dtype, cols) !== undefined ? dtype : source;
    return {
      name: info.name,
      dtype: target,
      shape: info.shape,
      data: () => {
        const bytes = new Uint8Array(extent.bytes);
        readSync(file, bytes, 0, bytes.length, extent.offset);
        if (target === source) return bytes;
        const values = new Float32Array(cols * rows);
        dequantizeRow(source, bytes, values);
        const out = new Uint8Array((blocksBytes(target, cols) as number) * rows);
        quantizeRow(target, values, out);
        return out;
      },
    };
  });
  try {
    const metadata = new Map(checkpoint.metadata.entries());
    edit(metadata);
    await writeGguf(to, { metadata: metadata.entries(), tensors });
  } finally {
    closeSync(file);
  }
}
