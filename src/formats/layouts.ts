/**
 * How the bytes of a weight follow from its shape: the one place that knows. A layout has planes (values, scales, ...);
 * a plane is a grid of cells of equal size. Everything else counts in slices: what a weight is cut into where part of it
 * is in memory. native/layouts.h mirrors this arithmetic; a test compares the two.
 */
import { HundredweightError } from "../errors.js";

/** The form in which an activation row meets the weight in a dot product, whatever the number of rows. */
export type Acts = "f32" | "q8_32" | "q8_256";

/** A cell holds the plane's share of `rows` output rows x `cols` inputs. */
export interface PlaneLayout {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly bytes: number;
}

export interface Layout {
  readonly id: number;
  /** Name as the field writes it, e.g. `Q4_K`. */
  readonly name: string;
  /**
   * The order on disk. `rows`: a row of cells is all inputs of its output rows, so some rows of all inputs are
   * contiguous. `inputs`: it is all output rows of its inputs, so some inputs of all rows are.
   */
  readonly order: "rows" | "inputs";
  readonly planes: readonly PlaneLayout[];
  /** Undefined: can be listed and copied, not computed with. */
  readonly acts?: Acts;
}

/** Where bytes are. `offset` is absolute in the file. */
export interface Extent {
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
}

/**
 * By name of the plane: one after the other, what its extents hold. Of stacked experts each holds whole ones; those of
 * a plain matrix are segments of whole slices, the same ones in every plane.
 */
export type Planes = Readonly<Record<string, readonly Extent[]>>;

/** The smallest piece of a weight that can be in memory without the rest: contiguous in every plane. */
export interface Slices {
  /** Slices of one expert. */
  readonly count: number;
  /** Output rows of a slice where the order is `rows`, inputs where it is `inputs`. */
  readonly step: number;
  /** Bytes of a slice in each plane, in the order of the layout. */
  readonly planeBytes: readonly number[];
  /** Sum of planeBytes. */
  readonly bytes: number;
}

/** Inputs that are summed as one: a slice of a layout in the order of inputs holds whole units. */
export const unitInputs = 32;

/** Bytes of one matrix; undefined when its shape is not whole cells of every plane. */
export function layoutBytes(layout: Layout, rows: number, cols: number): number | undefined {
  let bytes = 0;
  for (const plane of layout.planes) {
    if (rows % plane.rows !== 0 || cols % plane.cols !== 0) return undefined;
    bytes += (rows / plane.rows) * (cols / plane.cols) * plane.bytes;
  }
  return bytes;
}

/** @throws INTERNAL when the shape is not whole slices */
export function slicesOf(layout: Layout, rows: number, cols: number): Slices {
  const byRows = layout.order === "rows";
  const step = layout.planes.reduce(
    (least, p) => commonMultiple(least, byRows ? p.rows : p.cols),
    byRows ? 1 : unitInputs,
  );
  const [count, sliceRows, sliceCols] = byRows ? [rows / step, step, cols] : [cols / step, rows, step];
  const bytes = layoutBytes(layout, sliceRows, sliceCols);
  if (bytes === undefined || !Number.isInteger(count))
    throw new HundredweightError("INTERNAL", `${rows} x ${cols} values are not whole slices of ${layout.name}`);
  const planeBytes = layout.planes.map((p) => (sliceRows / p.rows) * (sliceCols / p.cols) * p.bytes);
  return { count, step, planeBytes, bytes };
}

interface Placed {
  readonly layout: Layout;
  readonly rows: number;
  readonly cols: number;
  readonly planes: Planes;
}

/** Slices at which the segments of a plain matrix, or of one expert, begin; then the number of all. */
export function segmentsOf(weight: Placed): number[] {
  const { count, planeBytes } = slicesOf(weight.layout, weight.rows, weight.cols);
  const bounds = [0];
  for (const { bytes } of weight.planes[weight.layout.planes[0]!.name] ?? []) {
    const end = bounds.at(-1)! + bytes / planeBytes[0]!;
    bounds.push(Math.min(end, count));
    if (end >= count) break;
  }
  return bounds;
}

/** Where slices [from, to) of an expert, all of one segment, lie in the files, plane by plane. */
export function sliceExtents(weight: Placed, expert: number, from: number, to: number): Extent[] {
  const { count, planeBytes } = slicesOf(weight.layout, weight.rows, weight.cols);
  return weight.layout.planes.map(({ name }, i) => {
    const each = planeBytes[i]!;
    let start = (expert * count + from) * each;
    for (const { file, offset, bytes } of weight.planes[name] ?? []) {
      if (start < bytes && start + (to - from) * each <= bytes)
        return { file, offset: offset + start, bytes: (to - from) * each };
      start -= bytes;
      if (start < 0) break;
    }
    throw new HundredweightError(
      "INTERNAL",
      `slices ${from} to ${to} of expert ${expert} are no part of a segment of '${name}'`,
    );
  });
}

/** Bytes of all planes in the files. */
export function storedBytes(planes: Planes): number {
  let bytes = 0;
  for (const extents of Object.values(planes)) for (const extent of extents) bytes += extent.bytes;
  return bytes;
}

/** The one run of bytes that a tensor of a GGUF file is.  @throws INTERNAL for any other */
export function onlyExtent({ name, planes }: { readonly name: string; readonly planes: Planes }): Extent {
  const extents = Object.values(planes).flat();
  if (extents.length !== 1) throw new HundredweightError("INTERNAL", `'${name}' lies in ${extents.length} extents`);
  return extents[0]!;
}

/** @throws INTERNAL unless the extents of all planes hold whole experts, or segments alike in each, and all of them */
export function checkPlanes(source: {
  readonly name: string;
  readonly layout: Layout;
  readonly rows: number;
  readonly cols: number;
  readonly experts: number;
  readonly planes: Planes;
}): void {
  const { name, layout, rows, cols, experts, planes } = source;
  const { count, planeBytes } = slicesOf(layout, rows, cols);
  const shares = (i: number) => (planes[layout.planes[i]!.name] ?? []).map(({ bytes }) => bytes / planeBytes[i]!);
  const least = experts === 1 ? 1 : count;
  for (const [i, plane] of layout.planes.entries()) {
    const slices = shares(i);
    const bytes = planeBytes[i]! * slices.reduce((sum, share) => sum + share, 0);
    const alike = experts > 1 || slices.join() === shares(0).join();
    if (bytes !== planeBytes[i]! * count * experts || !alike || slices.some((share) => share % least !== 0))
      throw new HundredweightError("INTERNAL", `${name}: the shape does not give ${bytes} bytes of ${plane.name}`);
  }
}

function commonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return (a / x) * b;
}
