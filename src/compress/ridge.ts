/** Least squares with a bound on what it changes: X (S + r I) = C for a symmetric S, by conjugate gradients. */
import { dtypeByName } from "../formats/index.js";
import { requireAddon } from "../native/addon.js";

/** So many steps end it at the latest: with r a tenth of the mean diagonal it takes far fewer. */
const mostSteps = 64;
const smallEnough = 1e-4;

/** @shape x [rows of x][rows], of a [rows][cols] and x [..][cols], in F32 */
export function timesRows(a: Float32Array, cols: number, x: Float32Array): Float32Array {
  const rows = a.length / cols;
  const count = x.length / cols;
  const out = new Float32Array(count * rows);
  const bytes = new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
  requireAddon().dot(dtypeByName("F32")!.id, bytes, rows, cols, x, count, out, null, "gemm");
  return out;
}

/** @shape x [rows][cols]; returns [cols][rows] */
export function turned(x: Float32Array, cols: number): Float32Array {
  const rows = x.length / cols;
  const out = new Float32Array(x.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out[j * rows + i] = x[i * cols + j]!;
  return out;
}

/**
 * Rows are independent: each has its own steps, and stops by itself.
 * @shape square [n][n]; right [rows][n]
 * @param ridge added to the diagonal, above 0 unless the square has none but zeros
 * @returns [rows][n]
 */
export function solveRidge(square: Float32Array, n: number, right: Float32Array, ridge: number): Float32Array {
  const rows = right.length / n;
  const x = new Float32Array(right.length);
  const scale = Float64Array.from({ length: n }, (_, i) => 1 / (square[i * n + i]! + ridge || 1));
  const rest = right.slice();
  const step = new Float32Array(right.length);
  const [weight, goal] = [new Float64Array(rows), new Float64Array(rows)];
  const scaled = (row: number): number => {
    let sum = 0;
    for (let i = 0, at = row * n; i < n; i++, at++) sum += rest[at]! * rest[at]! * scale[i]!;
    return sum;
  };
  for (let row = 0; row < rows; row++) {
    weight[row] = scaled(row);
    goal[row] = smallEnough ** 2 * weight[row]!;
    for (let i = 0, at = row * n; i < n; i++, at++) step[at] = rest[at]! * scale[i]!;
  }
  for (let k = 0; k < mostSteps && weight.some((left, row) => left > goal[row]!); k++) {
    const product = timesRows(square, n, step);
    for (let row = 0; row < rows; row++) {
      const first = row * n;
      let along = 0;
      for (let at = first; at < first + n; at++) along += step[at]! * (product[at]! + ridge * step[at]!);
      if (!(along > 0) || !(weight[row]! > goal[row]!)) continue;
      const length = weight[row]! / along;
      for (let at = first; at < first + n; at++) {
        x[at]! += length * step[at]!;
        rest[at]! -= length * (product[at]! + ridge * step[at]!);
      }
      const left = scaled(row);
      const turn = left / weight[row]!;
      weight[row] = left;
      for (let i = 0, at = first; i < n; i++, at++) step[at] = rest[at]! * scale[i]! + turn * step[at]!;
    }
  }
  return x;
}

/**
 * The matrix that makes `wanted` of `inputs` with the least squares of its errors and, weighed by the ridge, of itself.
 * The system that is solved has as many columns as there are inputs or columns, whichever are fewer.
 * @param share the ridge, in means of the diagonal of X'X
 * @shape inputs [rows][cols], wanted [rows][dim]; returns [dim][cols]
 */
export function fitRidge(inputs: Float32Array, cols: number, wanted: Float32Array, share: number): Float32Array {
  const rows = inputs.length / cols;
  const dim = wanted.length / rows;
  const squares = inputs.reduce((sum, value) => sum + value * value, 0);
  if (!(squares > 0)) return new Float32Array(dim * cols);
  const ridge = (share * squares) / cols;
  const [across, goal] = [turned(inputs, cols), turned(wanted, dim)];
  // Y'X (X'X + r)^-1 = Y' (XX' + r)^-1 X.
  if (rows < cols) return timesRows(across, rows, solveRidge(timesRows(inputs, cols, inputs), rows, goal, ridge));
  return solveRidge(timesRows(across, rows, across), cols, timesRows(across, rows, goal), ridge);
}
