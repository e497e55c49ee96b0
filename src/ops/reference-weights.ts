/** Weights of the reference: nothing is held, rows are read from the file and decoded when a product needs them. */
import { closeSync, fstatSync, readSync } from "node:fs";
import { HundredweightError } from "../errors.js";
import { dequantizeRow } from "../formats/dequantize.js";
import { type Dtype, dtypeOf } from "../formats/dtypes.js";
import { checkPlanes, onlyExtent, sliceExtents, slicesOf } from "../formats/layouts.js";
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
  readonly #sliceBytes: number;

  constructor(id: number, source: MatrixSource, files: WeightFiles) {
    checkPlanes(source);
    this.id = id;
    this.name = source.name;
    this.layout = source.layout;
    this.rows = source.rows;
    this.cols = source.cols;
    this.experts = source.experts;
    this.#source = source;
    this.#files = files;
    this.#sliceBytes = slicesOf(source.layout, source.rows, source.cols).bytes;
  }

  /** Calls `use` with each decoded row of an expert.  @shape values [cols], valid during the call */
  forEachRow(expert: number, use: (row: number, values: Float32Array) => void): void {
    const run = Math.max(1, Math.floor(runBytes / this.#sliceBytes));
    const bytes = new Uint8Array(Math.min(run, this.rows) * this.#sliceBytes);
    const values = new Float32Array(this.cols);
    for (let row = 0; row < this.rows; row += run) {
      const count = Math.min(run, this.rows - row);
      this.#read(expert, row, count, bytes);
      for (let i = 0; i < count; i++) {
        dequantizeRow(this.#dtype(), bytes.subarray(i * this.#sliceBytes, (i + 1) * this.#sliceBytes), values);
        use(row + i, values);
      }
    }
  }

  /** One decoded row.  @shape out [cols] */
  row(expert: number, row: number, out: Float32Array): void {
    const bytes = new Uint8Array(this.#sliceBytes);
    this.#read(expert, row, 1, bytes);
    dequantizeRow(this.#dtype(), bytes, out);
  }

  #dtype(): Dtype {
    const dtype = dtypeOf(this.layout);
    if (dtype === undefined)
      throw new HundredweightError(
        "FORMAT_UNSUPPORTED",
        `${this.name}: the reference cannot decode ${this.layout.name}`,
      );
    return dtype;
  }

  #read(expert: number, row: number, count: number, into: Uint8Array): void {
    for (const { file, offset, bytes } of sliceExtents(this.#source, expert, row, row + count))
      this.#files.read(file, offset, into.subarray(0, bytes));
  }
}

/**
 * A whole small tensor, expanded.
 * @throws FORMAT_UNSUPPORTED unless it is blocks; FILE_NOT_FOUND, MODEL_CHANGED
 */
export function readVector(source: MatrixSource, files: WeightFiles): Float32Array {
  const { file, offset, bytes } = onlyExtent(source);
  const dtype = dtypeOf(source.layout);
  if (dtype === undefined)
    throw new HundredweightError("FORMAT_UNSUPPORTED", `${source.name}: a vector cannot be ${source.layout.name}`);
  const stored = new Uint8Array(bytes);
  files.read(file, offset, stored);
  const out = new Float32Array(source.cols * source.rows * source.experts);
  dequantizeRow(dtype, stored, out);
  return out;
}

/** Double accumulator over f32 values: exact products, so only the sum of doubles and the last rounding err. */
export function dot(a: Float32Array, b: Float32Array, bOffset: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += a[i]! * b[bOffset + i]!;
  return sum;
}
