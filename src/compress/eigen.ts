/**
 * Eigenvalues and eigenvectors of a symmetric matrix in double precision: Householder reflections make it tridiagonal,
 * rotations with Wilkinson's shift make that diagonal.
 * @source Golub & Van Loan, "Matrix Computations", 8.3.1 and 8.3.3
 */
import { HundredweightError } from "../errors.js";

export interface Eigen {
  /** Descending. */
  readonly values: Float64Array;
  /** Row i belongs to value i [n][n]. */
  readonly vectors: Float64Array;
}

/** Rotations an eigenvalue may take; three are usual. */
const mostTurns = 60;

/**
 * About 9 n^3 operations at most: 1,024 columns take some seconds, and 4,096 some minutes.
 * @param matrix [n][n], of which the lower triangle is read
 * @throws MODEL_INVALID for values that are no finite numbers
 */
export function symmetricEigen(matrix: Float64Array, n: number): Eigen {
  const a = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) a[i * n + j] = a[j * n + i] = matrix[i * n + j]!;
  if (!a.every(Number.isFinite))
    throw new HundredweightError("MODEL_INVALID", "a matrix with values that are not finite");
  const { diagonal, beside, turned } = tridiagonal(a, n);
  diagonalize(diagonal, beside, turned, n);
  const order = Array.from({ length: n }, (_, i) => i).sort((i, j) => diagonal[j]! - diagonal[i]!);
  const vectors = new Float64Array(n * n);
  for (const [i, from] of order.entries()) vectors.set(turned.subarray(from * n, (from + 1) * n), i * n);
  return { values: Float64Array.from(order, (i) => diagonal[i]!), vectors };
}

/** Q with Q' A Q tridiagonal, its columns as rows. `a` is used up. */
function tridiagonal(a: Float64Array, n: number) {
  const reflections: { readonly first: number; readonly v: Float64Array }[] = [];
  const beside = new Float64Array(n);
  for (let k = 0; k + 2 < n; k++) {
    const first = k + 1;
    let squares = 0;
    for (let i = first; i < n; i++) squares += a[i * n + k]! ** 2;
    const head = a[first * n + k]!;
    const length = Math.sqrt(squares);
    if (length === 0 || squares === head * head) {
      beside[k] = head;
      continue;
    }
    const v = new Float64Array(n - first);
    for (let i = first; i < n; i++) v[i - first] = a[i * n + k]!;
    const turn = head > 0 ? -length : length;
    v[0]! -= turn;
    // v is scaled so that the reflection is I - v v'.
    const scale = 1 / Math.sqrt(squares - head * turn);
    for (let i = 0; i < v.length; i++) v[i]! *= scale;
    beside[k] = turn;
    reflect(a, n, first, v);
    reflections.push({ first, v });
  }
  if (n > 1) beside[n - 2] = a[(n - 1) * n + n - 2]!;
  const turned = new Float64Array(n * n);
  for (let i = 0; i < n; i++) turned[i * n + i] = 1;
  // Rows are columns of Q = H0 H1 ...: the last reflection is the first that a row meets.
  for (const { first, v } of reflections.toReversed())
    for (let row = first; row < n; row++) {
      let along = 0;
      for (let i = 0, at = row * n + first; i < v.length; i++, at++) along += v[i]! * turned[at]!;
      for (let i = 0, at = row * n + first; i < v.length; i++, at++) turned[at]! -= along * v[i]!;
    }
  return { diagonal: Float64Array.from({ length: n }, (_, i) => a[i * n + i]!), beside, turned };
}

/** A from row and column `first` on becomes (I - v v') A (I - v v'). */
function reflect(a: Float64Array, n: number, first: number, v: Float64Array): void {
  const m = v.length;
  const p = new Float64Array(m);
  for (let i = 0; i < m; i++) {
    let sum = 0;
    for (let j = 0, at = (first + i) * n + first; j < m; j++, at++) sum += a[at]! * v[j]!;
    p[i] = sum;
  }
  let half = 0;
  for (let i = 0; i < m; i++) half += p[i]! * v[i]!;
  half /= 2;
  for (let i = 0; i < m; i++) p[i]! -= half * v[i]!;
  for (let i = 0; i < m; i++) {
    const [vi, pi] = [v[i]!, p[i]!];
    for (let j = 0, at = (first + i) * n + first; j < m; j++, at++) a[at]! -= vi * p[j]! + pi * v[j]!;
  }
}

/** Implicit QR steps; `rows` are turned along, row i with diagonal value i. */
function diagonalize(d: Float64Array, e: Float64Array, rows: Float64Array, n: number): void {
  for (let l = 0; l < n; l++)
    for (let turns = 0; ; turns++) {
      let m = l;
      while (m + 1 < n && Math.abs(e[m]!) > Number.EPSILON * (Math.abs(d[m]!) + Math.abs(d[m + 1]!))) m++;
      if (m === l) break;
      if (turns === mostTurns) throw new HundredweightError("MODEL_INVALID", "eigenvalues that do not come to rest");
      step(d, e, rows, n, l, m);
    }
}

/** One step over the unreduced part [l, m]. */
function step(d: Float64Array, e: Float64Array, rows: Float64Array, n: number, l: number, m: number): void {
  const apart = (d[l + 1]! - d[l]!) / (2 * e[l]!);
  const root = Math.hypot(apart, 1);
  let g = d[m]! - d[l]! + e[l]! / (apart + (apart >= 0 ? root : -root));
  let [sine, cosine, moved] = [1, 1, 0];
  for (let i = m - 1; i >= l; i--) {
    const f = sine * e[i]!;
    const b = cosine * e[i]!;
    const r = Math.hypot(f, g);
    if (i + 1 < m) e[i + 1] = r;
    if (r === 0) {
      d[i + 1]! -= moved;
      e[m] = 0;
      return;
    }
    [sine, cosine] = [f / r, g / r];
    g = d[i + 1]! - moved;
    const t = (d[i]! - g) * sine + 2 * cosine * b;
    moved = sine * t;
    d[i + 1] = g + moved;
    g = cosine * t - b;
    for (let k = 0, at = i * n, next = (i + 1) * n; k < n; k++, at++, next++) {
      const value = rows[next]!;
      rows[next] = sine * rows[at]! + cosine * value;
      rows[at] = cosine * rows[at]! - sine * value;
    }
  }
  d[l]! -= moved;
  e[l] = g;
  if (m < n - 1) e[m] = 0;
}
