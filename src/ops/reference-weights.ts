/** Weights of the reference: nothing is held, rows are read from the file and decoded when a product needs them. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { HundredweightError } from "../errors.js";
import { dequantizeRow } from "../formats/dequantize.js";
import { rowBytes } from "../formats/dtypes.js";
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
        fd = openSync(path, "r");
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
  readonly dtype: Matrix["dtype"];
  readonly rows: number;
  readonly cols: number;
  readonly experts: number;
  readonly #source: MatrixSource;
  readonly #files: WeightFiles;
  readonly #rowBytes: number;

  constructor(id: number, source: MatrixSource, files: WeightFiles) {
    const bytes = rowBytes(source.dtype, source.cols);
    if (bytes === undefined || bytes * source.rows * source.experts !== source.extent.bytes)
      throw new HundredweightError("INTERNAL", `${source.name}: shape does not give ${source.extent.bytes} bytes`);
    this.id = id;
    this.name = source.name;
    this.dtype = source.dtype;
    this.rows = source.rows;
    this.cols = source.cols;
    this.experts = source.experts;
    this.#source = source;
    this.#files = files;
    this.#rowBytes = bytes;
  }

  /** Calls `use` with each decoded row of an expert.  @shape values [cols], valid during the call */
  forEachRow(expert: number, use: (row: number, values: Float32Array) => void): void {
    const run = Math.max(1, Math.floor(runBytes / this.#rowBytes));
    const bytes = new Uint8Array(Math.min(run, this.rows) * this.#rowBytes);
    const values = new Float32Array(this.cols);
    for (let row = 0; row < this.rows; row += run) {
      const count = Math.min(run, this.rows - row);
      this.#read(expert, row, bytes.subarray(0, count * this.#rowBytes));
      for (let i = 0; i < count; i++) {
        dequantizeRow(this.dtype, bytes.subarray(i * this.#rowBytes, (i + 1) * this.#rowBytes), values);
        use(row + i, values);
      }
    }
  }

  /** One decoded row.  @shape out [cols] */
  row(expert: number, row: number, out: Float32Array): void {
    const bytes = new Uint8Array(this.#rowBytes);
    this.#read(expert, row, bytes);
    dequantizeRow(this.dtype, bytes, out);
  }

  #read(expert: number, row: number, into: Uint8Array): void {
    const { file, offset } = this.#source.extent;
    this.#files.read(file, offset + (expert * this.rows + row) * this.#rowBytes, into);
  }
}

/** Double accumulator over f32 values: exact products, so only the sum of doubles and the last rounding err. */
export function dot(a: Float32Array, b: Float32Array, bOffset: number, length: number): number {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += a[i]! * b[bOffset + i]!;
  return sum;
}
