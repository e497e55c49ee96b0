/**
 * Where the bytes of a tensor lie that is made of rows of others: fused projections, experts that are tensors of their
 * own.
 */
import { append, type Extent, extentsWithin, layoutBytes, type Slices, slicesOf } from "../formats/layouts.js";
import type { TensorInfo } from "../formats/types.js";
import type { TensorDeclaration } from "./flow/tensors.js";

/** The fault of the parts, in words that follow the tensor's name. */
export class PartsUnfit extends Error {}

/**
 * The tensor as if the file had it. No byte is read or copied: its planes are the extents of the rows.
 * @throws PartsUnfit
 */
export function madeOf(tensor: TensorDeclaration, infoOf: (name: string) => TensorInfo): TensorInfo {
  const { name, shape, kind, made = [] } = tensor;
  const { layout, change } = infoOf(made[0]!.tensor.name);
  if (layout.order === "inputs" && made.length > 1 && shape.length < 3)
    throw new PartsUnfit(`cannot be put together: ${layout.name} has all rows of an input side by side`);
  const planes: Record<string, Extent[]> = Object.fromEntries(layout.planes.map((plane) => [plane.name, []]));
  for (const { tensor: part, from, count } of made) {
    const info = infoOf(part.name);
    if (info.layout !== layout)
      throw new PartsUnfit(`is made of tensors of the types ${layout.name} and ${info.layout.name}`);
    const { unit, planeBytes } = unitsOf(info, kind);
    if (from % unit !== 0 || count % unit !== 0)
      throw new PartsUnfit(`cannot be taken out of '${part.name}': rows of ${layout.name} come ${unit} at a time`);
    for (const [i, plane] of layout.planes.entries()) {
      const each = planeBytes[i]!;
      const known = planes[plane.name]!;
      for (const extent of extentsWithin(info.planes[plane.name] ?? [], (from / unit) * each, (count / unit) * each))
        append(known, extent);
    }
  }
  return { name, layout, shape, planes, ...(change !== undefined && { change }) };
}

/** Rows that lie together whatever is taken, and their bytes in each plane. A vector's values are its rows. */
function unitsOf(info: TensorInfo, kind: TensorDeclaration["kind"]): { unit: number; planeBytes: readonly number[] } {
  const { layout, shape } = info;
  const [cols, rows] = kind === "vector" ? [1, shape.reduce((a, b) => a * b, 1)] : [shape[0]!, shape[1] ?? 1];
  if (layoutBytes(layout, rows, cols) === undefined)
    throw new PartsUnfit(`cannot be taken out of '${info.name}', which has type ${layout.name}`);
  const slices: Slices = slicesOf(layout, rows, cols);
  if (layout.order === "rows") return { unit: slices.step, planeBytes: slices.planeBytes };
  return { unit: rows, planeBytes: slices.planeBytes.map((bytes) => bytes * slices.count) };
}
