/** One row of a weight of any layout, decoded by plain TypeScript: what the reference multiplies with. */
import { HundredweightError } from "../errors.js";
import { dequantizeRow } from "./dequantize.js";
import { dtypeOf } from "./dtypes.js";
import { decodeInt4, int4Layouts } from "./int4.js";
import type { Layout } from "./layouts.js";

/**
 * @param stored the planes of a matrix of `rows` rows, in the order of the layout
 * @shape out [cols]
 * @throws FORMAT_UNSUPPORTED for a layout that can be listed only
 */
export function decodeRow(
  layout: Layout,
  stored: readonly Uint8Array[],
  rows: number,
  row: number,
  out: Float32Array,
): void {
  const dtype = dtypeOf(layout);
  if (dtype !== undefined) {
    const bytes = stored[0]!.length / rows;
    dequantizeRow(dtype, stored[0]!.subarray(row * bytes, (row + 1) * bytes), out);
  } else if (int4Layouts.includes(layout)) decodeInt4(layout, stored, rows, row, out);
  else throw new HundredweightError("FORMAT_UNSUPPORTED", `weights of layout ${layout.name} cannot be decoded`);
}
