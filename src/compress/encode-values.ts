/** Values that were made here, in the type that a file has them in. */
import { blocksBytes, type Dtype, dtypeByName } from "../formats/index.js";
import { requireAddon } from "../native/addon.js";

/**
 * Rows of `cols` values, whole blocks of the type.
 * @returns the bytes, and the first value that is no finite number or that the type cannot hold; -1: none
 */
export function encodeValues(
  dtype: Dtype,
  values: Float32Array,
  cols: number,
  threads: number,
): { readonly bytes: Uint8Array; readonly bad: number } {
  const rows = values.length / cols;
  const bytes = new Uint8Array(rows * blocksBytes(dtype, cols)!);
  const raw = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const f32 = dtypeByName("F32")!.id;
  const bad = requireAddon().encode(f32, raw, dtype.id, rows, cols, null, bytes, threads, null);
  return { bytes, bad };
}
