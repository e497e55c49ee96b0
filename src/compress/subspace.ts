/**
 * The directions in which a symmetric matrix is largest, of a matrix that is only multiplied with: powers of it are
 * applied to a random block, and what is largest within the block is taken.
 * @source Halko, Martinsson & Tropp 2011, "Finding structure with randomness", algorithms 4.4 and 5.3
 */
import { symmetricEigen } from "./eigen.js";
import { timesRows, turned } from "./ridge.js";

/** Products with the matrix; each makes what is outside the block less by the ratio of eigenvalues. */
const rounds = 12;
/** Vectors of the block beyond those that are asked for. */
const spare = (count: number): number => Math.max(16, Math.ceil(count / 8));

/**
 * Ends after 13 products with blocks of k = count + max(16, count / 8) vectors, about 26 n k^2 operations in double
 * precision beside them and 9 k^3 for the last step; where k is n the result is exact.
 * @param apply the matrix times each row of a block [rows][n]
 * @returns orthonormal rows, the largest eigenvalue first [count][n]
 */
export function leadingDirections(
  apply: (block: Float32Array) => Float32Array,
  n: number,
  count: number,
): { readonly rows: Float32Array; readonly values: Float64Array } {
  const k = Math.min(n, count + spare(count));
  let block: Float32Array = new Float32Array(k * n);
  if (k === n) for (let i = 0; i < n; i++) block[i * n + i] = 1;
  else {
    randomize(block);
    block = orthonormal(block, k);
    for (let round = 0; round < rounds; round++) block = orthonormal(apply(block), k);
  }
  const small = Float64Array.from(timesRows(block, n, apply(block)));
  const { values, vectors } = symmetricEigen(small, k);
  const chosen = Float32Array.from(vectors.subarray(0, count * k));
  return { rows: timesRows(turned(block, n), k, chosen), values: values.slice(0, count) };
}

function randomize(block: Float32Array): void {
  let state = 1;
  for (let i = 0; i < block.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    block[i] = state / 2 ** 31 - 1;
  }
}

/**
 * Rows of the same span at right angles, by the Cholesky factor of their products, twice. Those are summed in double
 * precision: where one eigenvalue is a million times another, F32 would know nothing of the smaller. A row that is the
 * others' sum becomes nothing.
 * @source Yamamoto et al. 2015, "Roundoff error analysis of the CholeskyQR2 algorithm"
 */
function orthonormal(block: Float32Array, k: number): Float32Array {
  const n = block.length / k;
  let rows = block;
  for (let pass = 0; pass < 2; pass++) {
    const unit = unitRows(rows, n);
    rows = timesRows(turned(unit, n), k, inverseFactor(unit, k));
  }
  return rows;
}

/** Scales rows to a length of one, those of zeros but for. Squares of others would leave the range of F32. */
function unitRows(rows: Float32Array, n: number): Float32Array {
  for (let first = 0; first < rows.length; first += n) {
    let squares = 0;
    for (let at = first; at < first + n; at++) squares += rows[at]! * rows[at]!;
    const scale = squares > 0 ? 1 / Math.sqrt(squares) : 0;
    for (let at = first; at < first + n; at++) rows[at]! *= scale;
  }
  return rows;
}

/** Squares of a unit row that have to be left beside the others. */
const leastLeft = 1e-13;

/** L^-1 of the products L L' of rows. @shape [k][k] */
function inverseFactor(rows: Float32Array, k: number): Float32Array {
  const n = rows.length / k;
  const l = new Float64Array(k * k);
  const inverse = new Float64Array(k * k);
  for (let i = 0; i < k; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let at = i * n, other = j * n, end = at + n; at < end; at++, other++) sum += rows[at]! * rows[other]!;
      for (let at = i * k, other = j * k, end = at + j; at < end; at++, other++) sum -= l[at]! * l[other]!;
      const pivot = l[j * k + j]!;
      if (i === j) l[i * k + j] = sum > leastLeft ? Math.sqrt(sum) : 0;
      else l[i * k + j] = pivot > 0 ? sum / pivot : 0;
    }
    const pivot = l[i * k + i]!;
    if (pivot === 0) continue;
    const own = inverse.subarray(i * k, i * k + i + 1);
    for (let j = 0; j < i; j++) {
      const factor = l[i * k + j]!;
      for (let c = 0, at = j * k; c <= j; c++, at++) own[c]! -= factor * inverse[at]!;
    }
    own[i] = 1;
    for (let c = 0; c <= i; c++) own[c]! /= pivot;
  }
  return Float32Array.from(inverse);
}
