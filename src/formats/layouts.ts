/**
 * How the bytes of a weight follow from its shape: the one place that knows. A layout has planes (values, scales, ...);
 * a plane is a grid of cells of equal size. Everything else counts in slices: what a weight is cut into where part of
 * it is in memory. native/kernels/layouts.h mirrors this arithmetic.
 */
import { HundredweightError } from "../errors.js";

/** The form in which an activation row meets the weight in a dot product, whatever the number of rows. */
export const actKinds = ["f32", "q8_32", "q8_256"] as const;
export type Acts = (typeof actKinds)[number];

/**
 * Families of layouts of several planes; what they compute is in native/kernels/units.h. Of `integers` 32 inputs share
 * a scale, of `integers-scattered` each input has the scale that an index names; `floats` meet plain activations.
 */
export const unitKinds = ["integers", "integers-scattered", "floats"] as const;
export type Units = (typeof unitKinds)[number];

/** Kinds of codes, the bits of a value: a number, or an entry of a code book. */
export const codeKinds = ["unsigned", "signed", "e2m1", "e4m3", "e5m2", "nf4", "fp4"] as const;

/**
 * How codes lie in bytes. `linear`: inputs of a row follow each other, low bits first; in the order of inputs so many
 * words of 32 bits hold 32 inputs of a row, a word apart by all rows. `awq`: a word holds eight rows of one input, the
 * rows 0, 2, 4, 6, 1, 3, 5, 7. `high-first`: two inputs in a byte, the first in its upper half.
 */
export const packings = ["linear", "awq", "high-first"] as const;

/** `e8m0`: a power of two, 2^(e - 128). `nested`: an index into a table that has a scale itself (bitsandbytes). */
export const scaleKinds = ["f32", "f16", "bf16", "e8m0", "nested"] as const;

/**
 * Kinds of offsets, which are subtracted from codes: a constant, or codes of rows, low bits first, or AWQ's; or codes
 * of the groups of a row, low bits first.
 */
export const offsetKinds = ["constant", "linear", "awq", "groups"] as const;

/** The form of a layout of several planes: all that a kernel has to know beside where its cells are. */
export interface Form {
  readonly codes: (typeof codeKinds)[number];
  readonly bits: number;
  readonly packing: (typeof packings)[number];
  readonly scales: (typeof scaleKinds)[number];
  readonly offsets: (typeof offsetKinds)[number];
  /** The constant offset; else what is added to a stored one, which then keeps its lowest `bits`. */
  readonly addend: number;
  /** Multiplied with a scale; of nested scales what is added to each. */
  readonly factor: number;
}

/** A cell holds the plane's share of `rows` output rows x `cols` inputs; 0: of all there are. */
export interface PlaneLayout {
  readonly name: string;
  readonly rows: number;
  readonly cols: number;
  readonly bytes: number;
  /**
   * Every slice needs all of it, so it is in memory as long as the matrix is used. These planes come last. Its last
   * cells may hold less than others.
   */
  readonly whole?: true;
  /** Cells run on over the ends of rows; only of whole planes of one row. */
  readonly flat?: true;
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
  /** The family of a layout of several planes, and how it is to be read. */
  readonly units?: Units;
  readonly form?: Form;
  /** The types of values and mask of a pruned matrix (folded-layouts.ts); without a mask it is two of each four. */
  readonly folded?: { readonly values: string; readonly mask?: string };
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

/**
 * The smallest piece of a weight that can be in memory without the rest: contiguous in every plane but the whole ones.
 */
export interface Slices {
  /** Slices of one expert. */
  readonly count: number;
  /** Output rows of a slice where the order is `rows`, inputs where it is `inputs`. */
  readonly step: number;
  /** Bytes of a slice in each plane, in the order of the layout; 0 in whole planes. */
  readonly planeBytes: readonly number[];
  /** Sum of planeBytes. */
  readonly bytes: number;
  /** Bytes of one expert in each whole plane; 0 in the others. */
  readonly wholePlaneBytes: readonly number[];
  /** Sum of wholePlaneBytes. */
  readonly wholeBytes: number;
}

/** Inputs that are summed as one: a slice of a layout in the order of inputs holds whole units. */
export const unitInputs = 32;

/** Cells along an axis of so many rows or inputs; a fraction when they are not whole ones. */
export const cellsOf = (all: number, each: number): number => (each === 0 ? 1 : all / each);

/** A fraction when the shape is not whole cells. */
function planeSize(plane: PlaneLayout, rows: number, cols: number): number {
  if (plane.flat) return Math.ceil((rows * cols) / plane.cols) * plane.bytes;
  const [tall, wide] = [cellsOf(rows, plane.rows), cellsOf(cols, plane.cols)];
  if (plane.whole) return Math.ceil(tall) * Math.ceil(wide) * plane.bytes;
  return Number.isInteger(tall) && Number.isInteger(wide) ? tall * wide * plane.bytes : Number.NaN;
}

/** Bytes of one matrix; undefined when its shape is not whole cells of every plane, or whole units of integers. */
export function layoutBytes(layout: Layout, rows: number, cols: number): number | undefined {
  if (layout.form !== undefined && layout.acts === "q8_32" && cols % unitInputs !== 0) return undefined;
  let bytes = 0;
  for (const plane of layout.planes) {
    bytes += planeSize(plane, rows, cols);
    if (Number.isNaN(bytes)) return undefined;
  }
  return bytes;
}

/** Bytes of one expert in a plane, by its place in the layout. */
export function expertPlaneBytes({ count, planeBytes, wholePlaneBytes }: Slices, plane: number): number {
  return count * planeBytes[plane]! + wholePlaneBytes[plane]!;
}

/** @throws INTERNAL when the shape is not whole slices */
export function slicesOf(layout: Layout, rows: number, cols: number): Slices {
  const byRows = layout.order === "rows";
  const cut = layout.planes.filter(({ whole }) => !whole);
  const step = cut.reduce((least, p) => commonMultiple(least, byRows ? p.rows : p.cols), byRows ? 1 : unitInputs);
  const [count, sliceRows, sliceCols] = byRows ? [rows / step, step, cols] : [cols / step, rows, step];
  if (layoutBytes(layout, rows, cols) === undefined || !Number.isInteger(count))
    throw new HundredweightError("INTERNAL", `${rows} x ${cols} values are not whole slices of ${layout.name}`);
  const planeBytes = layout.planes.map((p) => (p.whole ? 0 : planeSize(p, sliceRows, sliceCols)));
  const wholePlaneBytes = layout.planes.map((p) => (p.whole ? planeSize(p, rows, cols) : 0));
  return { count, step, planeBytes, bytes: sum(planeBytes), wholePlaneBytes, wholeBytes: sum(wholePlaneBytes) };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

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

/**
 * Where slices [from, to) of an expert, all of one segment, lie in the files, plane by plane; of whole planes all of
 * the expert.
 */
export function sliceExtents(weight: Placed, expert: number, from: number, to: number): Extent[] {
  const slices = slicesOf(weight.layout, weight.rows, weight.cols);
  return weight.layout.planes.map(({ name }, i) => {
    const each = slices.planeBytes[i]!;
    let start = expert * expertPlaneBytes(slices, i) + from * each;
    for (const { file, offset, bytes } of weight.planes[name] ?? []) {
      const wanted = (to - from) * each + slices.wholePlaneBytes[i]!;
      if (start < bytes && start + wanted <= bytes) return { file, offset: offset + start, bytes: wanted };
      start -= bytes;
      if (start < 0) break;
    }
    throw new HundredweightError(
      "INTERNAL",
      `slices ${from} to ${to} of expert ${expert} are no part of a segment of '${name}'`,
    );
  });
}

/** Where bytes [start, start + bytes) of what these extents hold, one after the other, lie in the files. */
export function* extentsWithin(extents: readonly Extent[], start: number, bytes: number): Generator<Extent> {
  let [skip, left] = [start, bytes];
  for (const extent of extents) {
    const taken = Math.min(left, extent.bytes - skip);
    if (taken > 0) {
      yield { file: extent.file, offset: extent.offset + skip, bytes: taken };
      left -= taken;
    }
    if (left === 0) return;
    skip = Math.max(0, skip - extent.bytes);
  }
}

/** Adds an extent, and joins extents that follow each other in the file. */
export function append(extents: Extent[], next: Extent): void {
  const last = extents.at(-1);
  if (last?.file === next.file && last.offset + last.bytes === next.offset)
    extents[extents.length - 1] = { ...last, bytes: last.bytes + next.bytes };
  else extents.push(next);
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
  const slices = slicesOf(layout, rows, cols);
  const first = planes[layout.planes[0]!.name]?.map((extent) => extent.bytes / slices.planeBytes[0]!).join();
  for (const [i, plane] of layout.planes.entries()) {
    const each = expertPlaneBytes(slices, i);
    const extents = planes[plane.name] ?? [];
    const bytes = extents.reduce((sum, extent) => sum + extent.bytes, 0);
    const segments = experts === 1 && slices.wholeBytes === 0;
    const least = segments ? slices.planeBytes[i]! : each;
    const alike = !segments || extents.map((extent) => extent.bytes / least).join() === first;
    if (bytes !== each * experts || !alike || extents.some((extent) => extent.bytes % least !== 0))
      throw new HundredweightError("INTERNAL", `${name}: the shape does not give ${bytes} bytes of ${plane.name}`);
  }
}

function commonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return (a / x) * b;
}
