/** Seeded numbers, weight files and the bounds that the contract suite judges by. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { quantizeRow } from "../../src/compress/quantize.js";
import { dequantizeRow } from "../../src/formats/dequantize.js";
import { blocksBytes, type Dtype, dtypeByName, dtypes } from "../../src/formats/dtypes.js";
import type { Layout } from "../../src/formats/layouts.js";
import type { MatrixSource, Ops, RowTable, Tensor } from "../../src/ops/ops.js";

/** Spacing of f32 numbers around 1; one rounding errs by half of it. */
export const ulp = 2 ** -23;

export const computable: readonly Dtype[] = dtypes.filter((d) => d.acts !== undefined);

/** Normal numbers from a seed (mulberry32 and Box-Muller). */
export function normals(seed: number): () => number {
  let state = seed | 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Every implementation is asked about the same numbers. */
const drawn = new Map<string, Float32Array>();

export function randomValues(count: number, seed: number, deviation = 1): Float32Array {
  const key = `${count} ${seed} ${deviation}`;
  let values = drawn.get(key);
  if (values === undefined) {
    const next = normals(seed);
    values = new Float32Array(count);
    for (let i = 0; i < count; i++) values[i] = deviation * next();
    drawn.set(key, values);
  }
  return values.slice();
}

export interface Weights {
  readonly source: MatrixSource;
  /** The values of the file's bytes [experts * rows * cols]. */
  readonly values: Float32Array;
}

/** Encoding costs more than the tests do, and every implementation is given the same numbers. */
const encoded = new Map<string, { readonly bytes: Uint8Array; readonly values: Float32Array }>();

/** @shape bytes: rows of blocks, values [rows, cols] */
function randomMatrix(dtype: Dtype, rows: number, cols: number, seed: number) {
  const key = [dtype.name, rows, cols, seed].join();
  const known = encoded.get(key);
  if (known !== undefined) return known;
  const bytesPerRow = blocksBytes(dtype, cols)!;
  const bytes = new Uint8Array(rows * bytesPerRow);
  const random = randomValues(rows * cols, seed, 1 / Math.sqrt(cols));
  const values = new Float32Array(random.length);
  for (let r = 0; r < rows; r++) {
    const row = bytes.subarray(r * bytesPerRow, (r + 1) * bytesPerRow);
    quantizeRow(dtype, random.subarray(r * cols, (r + 1) * cols), row);
    dequantizeRow(dtype, row, values.subarray(r * cols, (r + 1) * cols));
  }
  const made = { bytes, values };
  encoded.set(key, made);
  return made;
}

/** A weight file of one random matrix. It begins at an offset that no page or cache line does. */
export function weightFile(
  path: string,
  dtypeName: string,
  shape: { rows: number; cols: number; experts?: number },
  seed: number,
): Weights {
  const dtype = dtypeByName(dtypeName)!;
  const { rows, cols, experts = 1 } = shape;
  const { bytes, values } = randomMatrix(dtype, rows * experts, cols, seed);
  const offset = 96;
  const file = new Uint8Array(offset + bytes.length);
  file.set(bytes, offset);
  writeFileSync(path, file);
  const extent = { file: path, offset, bytes: bytes.length };
  return {
    source: { name: `${dtypeName} test matrix`, layout: dtype, rows, cols, experts, planes: { blocks: [extent] } },
    values,
  };
}

/**
 * Largest error an activation value may take when it meets a quantized weight: half a step of its block, and for
 * 32-value blocks the rounding of the step to f16 (2^-11). @shape x [cols] of one row
 */
export function activationError({ acts }: Layout, x: Float32Array): Float64Array {
  const block = acts === "q8_32" ? 32 : 256;
  const errors = new Float64Array(x.length);
  if (acts === "f32") return errors;
  for (let start = 0; start < x.length; start += block) {
    const end = Math.min(start + block, x.length);
    let max = 0;
    for (let i = start; i < end; i++) max = Math.max(max, Math.abs(x[i]!));
    const step = max / 127;
    for (let i = start; i < end; i++) {
      const size = Math.abs(x[i]!);
      errors[i] = step / 2 + (acts === "q8_32" ? (size + step) * 2 ** -11 : size * ulp * 4);
    }
  }
  return errors;
}

/** A product in double precision, and the declared bound of its error (ops.ts, BOUND). */
export function product(
  weight: Weights,
  expert: number,
  row: number,
  x: Float32Array,
): { value: number; bound: number } {
  const { cols, rows, layout } = weight.source;
  const at = (expert * rows + row) * cols;
  const errors = activationError(layout, x);
  let value = 0;
  let magnitude = 0;
  let rounding = 0;
  for (let i = 0; i < cols; i++) {
    const w = weight.values[at + i]!;
    value += w * x[i]!;
    magnitude += Math.abs(w * x[i]!);
    rounding += Math.abs(w) * errors[i]!;
  }
  return { value, bound: cols * ulp * (magnitude + rounding) + rounding + 1e-30 };
}

export function near(actual: number, expected: number, bound: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= bound, `${what}: ${actual}, expected ${expected} +- ${bound}`);
}

/** One sequence at positions [from, from + count) with token ids of choice; blocks map to pages by `page`. */
export function rowTable(
  ops: { pools: number },
  positions: number[],
  options: Partial<{ ids: number[]; sequences: number[]; tables: Int32Array[][] }> = {},
): RowTable {
  return {
    count: positions.length,
    ids: Int32Array.from(options.ids ?? positions.map(() => 0)),
    positions: Int32Array.from(positions),
    sequences: Int32Array.from(options.sequences ?? positions.map(() => 0)),
    blockTables: options.tables ?? Array.from({ length: ops.pools }, () => [Int32Array.from([0, 1, 2, 3])]),
  };
}

export function filled(ops: Ops, rows: number, cols: number, values: Float32Array): Tensor {
  const tensor = ops.tensor(rows, cols);
  ops.write(tensor, values);
  return tensor;
}
