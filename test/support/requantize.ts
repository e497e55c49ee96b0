/** Rewrites a small model with its matrices in another tensor type: test fixtures in every dtype from one model. */
import { closeSync, openSync, readSync } from "node:fs";
import {
  type Dtype,
  dequantizeRow,
  dtypeByName,
  openGguf,
  quantizeRow,
  rowBytes,
  writeGguf,
} from "../../src/formats/index.js";

/** Matrices whose rows are whole blocks of `name` become that type; the rest of the file is kept as it is. */
export async function rewriteModel(from: string, to: string, name: string): Promise<void> {
  const dtype = dtypeByName(name) as Dtype;
  const checkpoint = await openGguf(from);
  const file = openSync(from, "r");
  const tensors = [...checkpoint.tensors.values()].map((info) => {
    const cols = info.shape[0] as number;
    const rows = info.shape.slice(1).reduce((a, b) => a * b, 1);
    const matrix = info.shape.length > 1 && !info.name.endsWith("_norm.weight");
    const target = matrix && rowBytes(dtype, cols) !== undefined ? dtype : info.dtype;
    return {
      name: info.name,
      dtype: target,
      shape: info.shape,
      data: () => {
        const bytes = new Uint8Array(info.extent.bytes);
        readSync(file, bytes, 0, bytes.length, info.extent.offset);
        if (target === info.dtype) return bytes;
        const values = new Float32Array(cols * rows);
        dequantizeRow(info.dtype, bytes, values);
        const out = new Uint8Array((rowBytes(target, cols) as number) * rows);
        quantizeRow(target, values, out);
        return out;
      },
    };
  });
  try {
    await writeGguf(to, { metadata: checkpoint.metadata.entries(), tensors });
  } finally {
    closeSync(file);
  }
}
