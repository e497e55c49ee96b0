/** Weights of the reference: nothing is held, rows are read from the file and decoded when a product needs them. */
import { closeSync, fstatSync, readSync } from "node:fs";
import { HundredweightError } from "../errors.js";
import { decodeRow } from "../formats/decode-row.js";
import { dequantizeRow } from "../formats/dequantize.js";
import { dtypeOf } from "../formats/dtypes.js";
import { checkPlanes, type Slices, segmentsOf, sliceExtents, slicesOf, storedBytes } from "../formats/layouts.js";
import { changedVector } from "../formats/vector-change.js";
import { openRegularSync } from "../regular-file.js";
import type { Matrix, MatrixSource } from "./ops.js";

/** Bytes of a run of rows that are read with one call. */
const runBytes = 256 * 1024;

/** Keeps one descriptor per file. */
export class WeightFiles {
  readonly #descriptors = new Map<string, number>();

  read(path: string, offset: number, into: Uint8Array): void {
    let fd = this.#descriptors.get(path);
    if (fd === undefined) {
      try {
        fd = openRegularSync(path);
      } catch (cause) {
        throw new HundredweightError("FILE_NOT_FOUND", `${path}: cannot be opened`, { path }, { cause });
      }
      this.#descriptors.set(path, fd);
    }
    let done = 0;
    while (done < into.length) {
      const got = readSync(fd, into, done, into.length - done, offset + done);
      if (got === 0)
        throw new HundredweightError(
          "MODEL_CHANGED",
          `${path}: ends at ${fstatSync(fd).size} bytes, weights reach ${offset + into.length}; the file shrank`,
        );
      done += got;
    }
  }

  close(): void {
    for (const fd of this.#descriptors.values()) closeSync(fd);
    this.#descriptors.clear();
  }
}

export class ReferenceMatrix implements Matrix {
  readonly id: number;
  readonly name: string;
  readonly layout: Matrix["layout"];
  readonly rows: number;
  readonly cols: number;
  readonly experts: number;
  readonly #source: MatrixSource;
  readonly #files: WeightFiles;
  readonly #slices: Slices;
  /** Where runs of rows that lie together end. */
  readonly #segments: readonly number[];

  constructor(id: number, source: MatrixSource, files: WeightFiles) {
    if (source.held === undefined) checkPlanes(source);
    this.id = id;
    this.name = source.name;
    this.layout = source.layout;
    this.rows = source.rows;
    this.cols = source.cols;
    this.experts = source.experts;
    this.#source = source;
    this.#files = files;
    this.#slices = slicesOf(source.layout, source.rows, source.cols);
    this.#segments = source.experts === 1 && source.held === undefined ? segmentsOf(source) : [0, this.#slices.count];
  }

  /** Calls `use` with each decoded row of an expert.  @shape values [cols], valid during the call */
  forEachRow(expert: number, use: (row: number, values: Float32Array) => void): void {
    const { count, bytes } = this.#slices;
    const values = new Float32Array(this.cols);
    // In the order of inputs a row is spread over the whole matrix.
    const run = this.layout.order === "inputs" ? count : Math.max(1, Math.floor(runBytes / bytes));
    for (let slice = 0, end = 0; slice < count; slice = end) {
      end = Math.min(this.#segments.find((bound) => bound > slice)!, slice + run);
      const stored = this.#read(expert, slice, end);
      const rows = this.#rowsOf(end - slice);
      const first = this.#rowsOf(slice);
      for (let i = 0; i < rows; i++) {
        decodeRow(this.layout, stored, rows, i, values, first);
        use(first + i, values);
      }
    }
  }

  /** One decoded row.  @shape out [cols] */
  row(expert: number, row: number, out: Float32Array): void {
    if (this.layout.order === "inputs") {
      const stored = this.#read(expert, 0, this.#slices.count);
      decodeRow(this.layout, stored, this.rows, row, out);
      return;
    }
    const { step } = this.#slices;
    const slice = Math.floor(row / step);
    decodeRow(this.layout, this.#read(expert, slice, slice + 1), step, row % step, out, slice * step);
  }

  /** Rows of that many slices. */
  #rowsOf(slices: number): number {
    if (this.layout.order === "rows") return slices * this.#slices.step;
    return slices === 0 ? 0 : this.rows;
  }

  #read(expert: number, from: number, to: number): Uint8Array[] {
    const { held } = this.#source;
    if (held !== undefined) {
      const { count, bytes } = this.#slices;
      const stored = new Uint8Array((to - from) * bytes);
      held((expert * count + from) * bytes, stored);
      return [stored];
    }
    return sliceExtents(this.#source, expert, from, to).map(({ file, offset, bytes }) => {
      const stored = new Uint8Array(bytes);
      this.#files.read(file, offset, stored);
      return stored;
    });
  }
}

/**
 * A whole small tensor, expanded.
 * @throws FORMAT_UNSUPPORTED unless it is blocks; FILE_NOT_FOUND, MODEL_CHANGED
 */
export function readVector(source: MatrixSource, files: WeightFiles): Float32Array {
  if (source.values !== undefined) return source.values.slice();
  const dtype = dtypeOf(source.layout);
  if (dtype === undefined)
    throw new HundredweightError("FORMAT_UNSUPPORTED", `${source.name}: a vector cannot be ${source.layout.name}`);
  const stored = new Uint8Array(storedBytes(source.planes));
  const count = source.cols * source.rows * source.experts;
  if (stored.length * dtype.blockValues !== count * dtype.blockBytes)
    throw new HundredweightError("MODEL_INVALID", `${source.name}: ${count} values do not take ${stored.length} bytes`);
  let at = 0;
  for (const { file, offset, bytes } of Object.values(source.planes).flat()) {
    files.read(file, offset, stored.subarray(at, at + bytes));
    at += bytes;
  }
  const out = new Float32Array(count);
  dequantizeRow(dtype, stored, out);
  return changedVector(out, source.change);
}

/** Double accumulator over f32 values: exact products, so only the sum of doubles and the last rounding err. */
export function dot(a: Float32Array, b: Float32Array, bOffset: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += a[i]! * b[bOffset + i]!;
  return sum;
}

/**
 * `dot` of one row with several: four sums at a time, each in the order of `dot`, so that an addition need not wait for
 * the one before it.
 * @shape offsets [rows] where each begins in `b`; out [rows]
 */
export function dots(
  a: Float32Array,
  b: Float32Array,
  offsets: Int32Array,
  length: number,
  out: Float64Array,
): Float64Array {
  let row = 0;
  for (; row + 4 <= offsets.length; row += 4) {
    const at0 = offsets[row]!;
    const at1 = offsets[row + 1]!;
    const at2 = offsets[row + 2]!;
    const at3 = offsets[row + 3]!;
    let sum0 = 0;
    let sum1 = 0;
    let sum2 = 0;
    let sum3 = 0;
    for (let i = 0; i < length; i++) {
      const value = a[i]!;
      sum0 += value * b[at0 + i]!;
      sum1 += value * b[at1 + i]!;
      sum2 += value * b[at2 + i]!;
      sum3 += value * b[at3 + i]!;
    }
    out[row] = sum0;
    out[row + 1] = sum1;
    out[row + 2] = sum2;
    out[row + 3] = sum3;
  }
  for (; row < offsets.length; row++) out[row] = dot(a, b, offsets[row]!, length);
  return out;
}
