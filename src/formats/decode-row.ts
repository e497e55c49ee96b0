/** One row of a weight of any layout, decoded by plain TypeScript: what the reference multiplies with. */
import { HundredweightError } from "../errors.js";
import { decodePlanes } from "./decode-planes.js";
import { dequantizeRow } from "./dequantize.js";
import { dtypeOf } from "./dtypes.js";
import { decodeFolded } from "./folded-layouts.js";
import type { Layout } from "./layouts.js";

/**
 * @param stored slices of a matrix, plane by plane, in the order of the layout: `rows` rows from row `first` on
 * @param row counted from `first`
 * @shape out [cols]
 * @throws FORMAT_UNSUPPORTED for a layout that can be listed only; MODEL_INVALID for a damaged index
 */
export function decodeRow(
  layout: Layout,
  stored: readonly Uint8Array[],
  rows: number,
  row: number,
  out: Float32Array,
  first = 0,
): void {
  const dtype = dtypeOf(layout);
  if (dtype !== undefined) {
    const bytes = stored[0]!.length / rows;
    dequantizeRow(dtype, stored[0]!.subarray(row * bytes, (row + 1) * bytes), out);
  } else if (layout.form !== undefined) decodePlanes({ layout, stored, rows, first, cols: out.length }, row, out);
  else if (layout.folded !== undefined) decodeFolded(layout, stored, rows, row, out);
  else throw new HundredweightError("FORMAT_UNSUPPORTED", `weights of layout ${layout.name} cannot be decoded`);
}
